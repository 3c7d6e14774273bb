"""Chat history and a document store with vectors, awaited: see docs/example-chat.md."""
