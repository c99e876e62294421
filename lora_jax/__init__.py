"""Scaling-law experiments in JAX: from a config file to fitted exponents with intervals and a report.

The rooms, lowest first; each imports only from those before it (docs/architecture.md has the table).

    errors    LoraJaxError, the one exception that a user's mistake raises
    config    what to run, as frozen dataclasses; run_id
    params    Spec and Params: every weight declared once, counts and init derived from it
    model     the transformer, a pure function of a parameter tree
    data      text, tokens, batches
    train     loss, optimizer, step, trunk and its branches, checkpoints
    runs      records, the store, sweeps, plan and execution
    scaling   tables, laws, fits with intervals; reads any CSV and needs no jax
    report    figures and the page
    cli       the `lora-jax` command

Nothing is imported here, so that `import lora_jax` costs nothing: `from lora_jax.config import RunConfig`.
"""

__version__ = "0.1.0"
