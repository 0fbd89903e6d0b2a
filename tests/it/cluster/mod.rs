//! Several nodes as one broker: what their clients see, also while nodes, Redis or RabbitMQ come and go.

mod support;
mod work_queues;
