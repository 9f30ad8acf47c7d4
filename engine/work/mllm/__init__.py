"""Vision-language models: built, pruned, scored and retrained on questions about images.

transformers is imported in here, and only when a study wants such a model.
"""
