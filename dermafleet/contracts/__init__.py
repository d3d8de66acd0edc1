"""What crosses a wire: topics, envelope, entries, status and ack. Standard library and msgspec only."""
