//! SockJS over HTTP.
