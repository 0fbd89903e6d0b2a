//! SockJS frames, quoting, pages and the session state machine.
