//! The node as its operator sees it: command line, configuration, pages, logs, its end; and who is where.

mod command;
mod drain;
mod headers;
mod logs;
mod operators;
mod pages;
mod reload;
mod revocations;
mod rooms;
