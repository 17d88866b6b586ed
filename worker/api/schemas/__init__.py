"""JSON schemas, draft 2020-12: what each request must look like, and what its answer does."""
