"""A centre's object store, spoken to in the S3 API."""
