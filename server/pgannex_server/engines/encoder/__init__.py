"""What every encoder engine shares: the model's own recipe, its tokens, budgeted batches.

`recipe` reads the sentence-transformers files of a model's folder; `tokens` turns texts
into ids; `batches` sorts and pads; `vectors` normalises and truncates; `network` builds
the torch module that a recipe describes; `base` joins them into an engine that lacks only
its forward pass. All but `network` can be imported without torch.
"""
