"""The settings of each concern: names, defaults, bounds and explanations.

`nann.config` puts them together.
"""

import dataclasses

from nann.settings import Settings, setting


@dataclasses.dataclass(frozen=True)
class PathSettings(Settings):
  """Where the jobs read and write."""

  output_root: str = setting(
    "./output",
    "Folder of everything a run produces: model/, embeddings/, index/,"
    " metrics/, tensorboard_summary/.",
    nonempty=True,
  )
  dataset_dir: str = setting(
    "./data", "Folder of the prepared records.", nonempty=True
  )


@dataclasses.dataclass(frozen=True)
class DataSettings(Settings):
  """How a behavior log becomes training and test records."""

  input: tuple[str, ...] = setting(
    (),
    "Behavior csv: user_id,item_id,category_id,behavior,timestamp; plain or"
    " .gz, one or several (comma separated), with or without a header line."
    " Without it prepare_data generates synthetic behavior.",
  )
  column_names: tuple[str, ...] = setting(
    (),
    "For a csv with a header of its own words: pairs ours=theirs, such as"
    " user_id=uid,item_id=sku.",
  )
  behaviors: tuple[str, ...] = setting(
    (), "Keep only these kinds of behavior, such as pv,buy. All by default."
  )
  time_window: tuple[int, ...] = setting(
    (),
    "Drop events outside [begin, end) seconds since 1970, given as begin,end."
    " For Taobao's UserBehavior: 1511539200,1512316800.",
  )
  max_bad_rows: float = setting(
    0.01,
    "Share of bad rows above which prepare_data stops.",
    minimum=0.0,
    maximum=1.0,
  )
  test_users: str = setting(
    "", "File of raw user ids, one a line, to hold out for testing."
  )
  num_test_users: int = setting(
    10000,
    "Users to hold out for testing (original: --num-test-user). At most a"
    " tenth of the eligible users is taken.",
    minimum=0,
  )
  num_validation_users: int = setting(
    10000,
    "Users to hold out for validation (original: --num-validate-user)."
    " At most a tenth of the eligible users is taken.",
    minimum=0,
  )
  max_length: int = setting(
    50, "L: a history is a user's last L items.", minimum=1
  )
  train_min_length: int = setting(
    10, "A training target has at least this many items before it.", minimum=1
  )
  test_min_length: int = setting(
    7, "A test or validation user has more than this many events.", minimum=1
  )
  num_shards: int = setting(
    16, "Number of files the training records are spread over.", minimum=1
  )
  engine: str = setting(
    "duckdb",
    "What runs prepare_data: duckdb on this machine, or spark (PySpark: pip"
    " install 'nann[spark]', and Java 17) on many. The records are the same.",
    choices=("duckdb", "spark"),
  )
  memory_limit: str = setting(
    "4GB",
    "Memory the data engine may use before it spills to disk; of Spark, the"
    " driver's.",
  )
  spark_master: str = setting(
    "local[*]",
    "--engine spark: where it runs, such as spark://host:7077 or yarn; the"
    " inputs and --dataset-dir must be seen from there.",
    nonempty=True,
  )
  synthetic_users: int = setting(
    20000, "Users of the synthetic log (without --input).", minimum=30
  )
  synthetic_items: int = setting(
    20000, "Items of the synthetic log.", minimum=100
  )
  synthetic_categories: int = setting(
    500, "Categories of the synthetic log.", minimum=1
  )

  synthetic_log: str = setting(
    "./synthetic.csv", "generate_log: the csv to write.", nonempty=True
  )

  def check(self) -> None:
    if self.time_window and (
      len(self.time_window) != 2 or self.time_window[0] >= self.time_window[1]
    ):
      raise ValueError(
        f"--time-window is {self.time_window}, wanted begin,end with begin <"
        " end"
      )
    for pair in self.column_names:
      if pair.count("=") != 1:
        raise ValueError(
          f"--column-names holds {pair!r}, wanted pairs such as user_id=uid"
        )
    if self.synthetic_categories > self.synthetic_items:
      raise ValueError(
        f"--synthetic-categories is {self.synthetic_categories}, wanted at"
        f" most --synthetic-items ({self.synthetic_items})"
      )


@dataclasses.dataclass(frozen=True)
class IndexSettings(Settings):
  """How the graph is built."""

  builder: str = setting(
    "faiss", "Library that builds the HNSW graph.", choices=("faiss", "hnswlib")
  )
  hnsw_num_neighbors: int = setting(
    32, "M: links of an item on the upper levels, half of level 0's.", minimum=2
  )
  hnsw_ef_construction: int = setting(
    40, "efConstruction: beam width while building.", minimum=1
  )
  flat_neighbors: int = setting(
    8,
    "Nearest neighbors of an item in the graph of policy best_first.",
    minimum=1,
  )
  flat_reversed: int = setting(
    8,
    "Policy best_first: an item is linked back to at most so many of those"
    " that it is a nearest neighbor of.",
    minimum=0,
  )
  flat_links: int = setting(
    4,
    "Policy best_first: M of the slim HNSW graph whose lowest level joins the"
    " neighborhoods.",
    minimum=2,
  )
  num_medoids: int = setting(
    32,
    "Policy best_first: items in the middle of clusters, scored beside the"
    " history as a safety net.",
    minimum=1,
  )
  profile_users: int = setting(
    256,
    "extract_feature: training users whose scores of every item become its"
    " profile. The graph of policy best_first links items that are alike in"
    " embedding and profile; 0: in embedding alone.",
    minimum=0,
  )
  index_threads: int = setting(
    0,
    "Threads that build; 0: all cores. 1 makes the graph reproducible.",
    minimum=0,
  )
  hnsw_start_level: int = setting(
    2,
    "Level whose items are all scored first (policy paper). Taken lower, and"
    " said, where it would be empty.",
    minimum=1,
  )


@dataclasses.dataclass(frozen=True)
class SearchSettings(Settings):
  """How items are found.

  What job tune has written to search/settings.json is used instead of the
  defaults; what is given at the command line stays as it is given.
  """

  search_mode: str = setting(
    "auto",
    "graph: walk the graph; scan: score every item; auto: whichever costs less,"
    " by the size of the catalogue and of the filter.",
    choices=("auto", "graph", "scan"),
  )
  search_policy: str = setting(
    "best_first",
    "best_first: from the history's items, best items first; paper: level by"
    " level from the entry level (arXiv 2202.10226).",
    choices=("best_first", "paper"),
  )
  num_scoring_per_level: tuple[int, ...] = setting(
    (3, 1, 1),
    "Policy paper: hops on each level, from level 0 up to the start level.",
    minimum=1,
    nonempty=True,
  )
  top_k_per_level: tuple[int, ...] = setting(
    (400, 200, 100),
    "Policy paper: beam width of each level, from level 0 up.",
    minimum=1,
    nonempty=True,
  )
  ef: int = setting(
    250, "Policy best_first: items the beam keeps (at least k).", minimum=1
  )
  search_width: int = setting(
    32, "Policy best_first: items expanded at each step.", minimum=1
  )
  max_search_steps: int = setting(
    64, "Policy best_first: most steps a query may take.", minimum=1
  )
  max_evaluations: int = setting(
    100000,
    "Policy best_first: most items a query may score.",
    minimum=1,
  )
  exclude_history: bool = setting(
    False, "Return no item that is in the user's history."
  )
  item_state_dtype: str = setting(
    "float16",
    "How the state of the items is kept: float16 is read faster than float32"
    " and finds the same.",
    choices=("float32", "float16", "bfloat16"),
  )

  def check(self) -> None:
    if len(self.num_scoring_per_level) != len(self.top_k_per_level):
      raise ValueError(
        f"--num-scoring-per-level holds {len(self.num_scoring_per_level)}"
        f" values and --top-k-per-level {len(self.top_k_per_level)}, wanted"
        " one each per level"
      )
    if self.num_scoring_per_level[-1] != 1:
      raise ValueError(
        f"--num-scoring-per-level ends with {self.num_scoring_per_level[-1]},"
        " wanted 1: the entry level is scored once, as a whole"
      )


@dataclasses.dataclass(frozen=True)
class EvaluationSettings(Settings):
  """What test and test_all measure."""

  topk_eval: tuple[int, ...] = setting(
    (200,), "k, or several: metrics at each of them.", minimum=1, nonempty=True
  )
  num_test_batch: int = setting(
    10000, "Number of test users (not of batches).", minimum=1
  )
  max_exact_pairs: int = setting(
    1_000_000_000,
    "test compares with exact scoring for as many users as fit into this"
    " number of scored pairs.",
    minimum=0,
  )
  target_coverage: float = setting(
    0.975,
    "tune: the mean share of the exact top k that the search shall return.",
    above=0.0,
    maximum=1.0,
  )
  num_tune_users: int = setting(
    500, "tune: validation users to measure on, at most.", minimum=1
  )
  sweep: bool = setting(
    False, "test: also draw recall and coverage over a grid of settings."
  )
  baselines: bool = setting(
    True, "test: also report popularity and item-item baselines."
  )


@dataclasses.dataclass(frozen=True)
class RunSettings(Settings):
  """What does not belong to one stage."""

  seed: int = setting(0, "Seed of every random choice.", minimum=0)
  shards: tuple[str, ...] = setting(
    (),
    "Items spread over machines. build_index, export: into how many shards;"
    " each becomes an exported model in <output-root>/shards/. serve: host:port"
    " of each shard's server; this one asks them all and merges.",
  )

  def num_shards(self) -> int:
    """Returns into how many shards to build; 1: none. Raises ValueError."""
    if not self.shards:
      return 1
    text = self.shards[0]
    is_number = text.isascii() and text.isdigit() and int(text) > 0
    if len(self.shards) != 1 or not is_number:
      raise ValueError(
        f"--shards is {','.join(self.shards)!r}, wanted the number of shards"
      )
    return int(text)
