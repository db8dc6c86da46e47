"""Which models there are, which are loaded, where, and what they did.

`Registry.get(name)` gives the `Model` behind a name or an alias: its configuration, its
queue (batching.py) and its worker handles (workers/handle.py). Loading happens on first
use; `pin`, `unload` and the memory budget per device decide what stays. Turning a name
into a folder is not done here but by `models.resolve(config: ModelConfig, server:
ServerConfig) -> ModelSpec`, which may block (it runs in a thread) and raises WireError or
EngineError with code load_failed, engine_missing or unknown_model.
"""
