"""Output layers of very many classes: losses, exact in blocks or from candidates, and the classes of highest score.

Hidden values are `(batch, features)`, weights `(classes, features)`, so that what a class has lies together, a bias
`(classes,)` or None, labels `(batch,)` or, several for each example, `(batch, m)`.
"""

from jaxapprox._src.softmax.candidates import Candidates, Proposal, draw
from jaxapprox._src.softmax.dense_weights import dense_of_rows, rows_of_dense
from jaxapprox._src.softmax.evaluation import Evaluation, evaluate, top_k
from jaxapprox._src.softmax.exact import cross_entropy
from jaxapprox._src.softmax.hashed import hashed_top_k, hits, recall, with_hits
from jaxapprox._src.softmax.proposals import by_frequency, in_batch, log_uniform, mixture, uniform
from jaxapprox._src.softmax.sampled import sampled_cross_entropy, sampled_rows
from jaxapprox._src.softmax.shards import shard_classes, unshard_classes

__all__ = [
    "Candidates",
    "Evaluation",
    "Proposal",
    "by_frequency",
    "cross_entropy",
    "dense_of_rows",
    "draw",
    "evaluate",
    "hashed_top_k",
    "hits",
    "in_batch",
    "log_uniform",
    "mixture",
    "recall",
    "rows_of_dense",
    "sampled_cross_entropy",
    "sampled_rows",
    "shard_classes",
    "top_k",
    "uniform",
    "unshard_classes",
    "with_hits",
]
