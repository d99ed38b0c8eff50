"""Settings shared by all tests: strict about shapes, and nothing random from run to run."""

import hypothesis
import jax

jax.config.update("jax_numpy_rank_promotion", "raise")

hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None, database=None, max_examples=30)
hypothesis.settings.load_profile("fixed")
