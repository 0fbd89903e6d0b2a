//! Behaviour tests against the real binary, and facts about the tree.
#![allow(clippy::unwrap_used, reason = "tests")]

mod attacks;
mod bench;
mod checks;
mod cluster;
mod conformance;
mod contracts;
mod corpus;
mod deploy;
mod dev;
mod documents;
mod identity;
mod kept;
mod licences;
mod node;
mod permissions;
mod relay;
mod simulation;
mod sockjs;
mod spring;
mod stomp;
mod support;
mod talk;
mod tidy;
mod withstand;
