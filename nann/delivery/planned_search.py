"""A search inside a graph that walks or scans as a plan says.

`answering` is the same for arrays that lie in this process.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from nann import ops
from nann.retrieval import answering, scan, tensors
from nann.retrieval.retriever import Retriever


@dataclasses.dataclass(frozen=True)
class PlannedSearch:
  """A traced request of `retrieve`, answered as the plan says.

  Attributes:
    retriever: Scorer, items and graphs.
    plan: How queries are answered.
    item_ids: [B, L] int64.
    category_ids: [B, L] int64.
    k: Scalar int32.
    allowed: [B, (I + 7) / 8] uint8 bits, or [0, 0]: all.
    denied: [B, X] int32 rows.
  """

  retriever: Retriever
  plan: answering.Plan
  item_ids: tf.Tensor
  category_ids: tf.Tensor
  k: tf.Tensor
  allowed: tf.Tensor
  denied: tf.Tensor

  def answers(self) -> ops.Found:
    """Walks or scans; see `answering.uses_scan`."""
    plan, num_rows = self.plan, len(self.retriever.items)
    if plan.mode == "graph":
      return self._walk(tensors.policy_tensors(plan.policy))
    if plan.mode == "scan" or plan.cost.prefers_scan(num_rows):
      if plan.exclude_history:
        return self._scan_allowed()
      return _either(self._is_filtered(), self._scan_allowed, self._scan_all)
    bits = tf.raw_ops.PopulationCount(x=self.allowed)
    number = tf.reduce_sum(tf.cast(bits, tf.int32), axis=1)
    largest = int(plan.cost.largest_scan(num_rows) * num_rows)
    # A batch is scanned or walked as a whole.
    is_narrow = tf.reduce_all(number <= largest) & (tf.size(number) > 0)
    policy = tensors.policy_tensors(plan.policy)
    if policy.limits is None:
      return _either(
        is_narrow, self._scan_allowed, lambda: _with_total(self._walk(policy))
      )
    # Not inside the condition, which would slow down every request: a walk
    # whose answer is not wanted ends at once.
    limits = tf.where(is_narrow, tf.ones_like(policy.limits), policy.limits)
    walked = _with_total(self._walk(policy._replace(limits=limits)))
    return _either(is_narrow, self._scan_allowed, lambda: walked)

  def _is_filtered(self) -> tf.Tensor:
    return tf.size(self.allowed) + tf.size(self.denied) > 0

  def _walk(self, policy: tensors.PolicyTensors) -> ops.Found:
    return self.retriever.found(
      self.item_ids,
      policy,
      self.k,
      self.retriever.entries,
      self.allowed,
      self.plan.exclude_history,
      self.denied,
      self._is_filtered(),
      self.category_ids,
    )

  def _scan_all(self) -> ops.Found:
    retriever = self.retriever
    return scan.scan_all(
      retriever.scores_of,
      retriever.user_state_of(self.item_ids, self.category_ids),
      len(retriever.items),
      self.k,
    )

  def _scan_allowed(self) -> ops.Found:
    retriever, denied = self.retriever, self.denied
    if self.plan.exclude_history:
      rows = retriever.rows_of(self.item_ids)
      denied = tf.concat([denied, rows], axis=1)
    return scan.scan_allowed(
      retriever.scores_of,
      retriever.user_state_of(self.item_ids, self.category_ids),
      len(retriever.items),
      self.k,
      self.allowed,
      denied,
    )


def _with_total(found: ops.Found) -> ops.Found:
  """Returns num_scored in one column, as a scan has it."""
  total = tf.reduce_sum(found.num_scored, axis=1, keepdims=True)
  return found._replace(num_scored=total)


def _either(
  condition: tf.Tensor,
  one: Callable[[], ops.Found],
  other: Callable[[], ops.Found],
) -> ops.Found:
  return ops.Found(
    *tf.cond(condition, lambda: tuple(one()), lambda: tuple(other()))
  )
