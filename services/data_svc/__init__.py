"""The service that owns projects, uploads, datasets, feedback and lineage."""
