"""`bessemer demo`: the whole lifecycle on real documents, through the SDK like any other client."""
