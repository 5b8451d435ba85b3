"""Pictures of a model after any stage, pages to explore it, and what a pass changed."""
