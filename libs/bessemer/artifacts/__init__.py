"""Files that services share: content-addressed blobs, manifests, token shards, reports."""
