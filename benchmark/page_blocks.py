"""What the benchmark page shows of each comparison: text, pictures, tables."""

import page_pictures
import page_policies
import page_recall
from page_parts import Block, Figures, Table

SCALING_NAMES = {
  "best_first": "NANN, best_first",
  "paper": "NANN, paper",
  "unfolded": "best_first, network not folded",
  "stock_ops": "best_first in stock TensorFlow ops",
  "exact_folded": "exact scan, folded",
  "exact_keras": "exact scan, Keras predict",
}
LIBRARIES = {
  "nann": "NANN",
  "faiss": "faiss HNSW",
  "hnswlib": "hnswlib",
  "usearch": "usearch",
  "scalable_vs": "scalable-vs",
  "scann": "ScaNN",
}
_RECALL_PERCENTS = (90, 95, 99)


def blocks(figures: Figures) -> list[Block]:
  """Returns what there is to show, the most telling first.

  Args:
    figures: Of each section that was run, by name.
  """
  made: list[Block] = []
  for name, title in (
    ("recall_checkins", "Instead of two towers: real check-ins"),
    ("recall_synthetic", "Instead of two towers: synthetic log"),
  ):
    if name in figures:
      made.append(page_recall.block(name, title, figures[name]))
  if "scaling" in figures:
    made.append(_scaling(figures["scaling"]))
  if "neural" in figures:
    made.append(_neural(figures["neural"]))
  if "policies_synthetic" in figures:
    made.append(page_policies.block(figures["policies_synthetic"]))
  for name in ("metric", "metric_10"):
    if name in figures:
      made.append(_metric(name, figures[name]))
  if "serving" in figures:
    made.append(_serving(figures["serving"]))
  if "training" in figures or "data" in figures:
    made.append(_work(figures))
  return made


def _scaling(figures: Figures) -> Block:
  sizes = figures["sizes"]
  rows = [
    [name, *(_milliseconds(sizes[size][key]) for size in sizes)]
    for key, name in SCALING_NAMES.items()
  ]
  scored = [
    [
      SCALING_NAMES[key],
      *(
        f"{sizes[size][key]['num_scored']:,.0f}"
        f" ({sizes[size][key]['coverage']:.3f})"
        for size in sizes
      ),
    ]
    for key in ("best_first", "paper")
  ]
  losses = [
    f"{int(size):,} items: {SCALING_NAMES[key]} takes"
    f" {of_size[key]['ms']:.2f} ms,"
    f" best_first {of_size['best_first']['ms']:.2f}"
    for size, of_size in sizes.items()
    for key in SCALING_NAMES
    if key != "best_first" and of_size[key]["ms"] <= of_size["best_first"]["ms"]
  ]
  head = [f"{int(size):,} items" for size in sizes]
  return Block(
    "scaling",
    "How cost grows with the corpus",
    f"A request on one thread, top {figures['k']}, each policy with the"
    " cheapest of its settings that finds"
    f" {figures['coverage_wanted']:.1%} of the exact answer on the mean of"
    f" {figures['num_users']} users. The corpora come from one trained model:"
    " a part of its items, or more items between neighbors. In brackets: the"
    " quartiles over users; below, items scored and the coverage reached.",
    page_pictures.to_svgs(
      [
        (
          "Milliseconds of a request; both axes are logarithmic",
          page_pictures.cost_by_size(sizes, SCALING_NAMES),
        )
      ]
    ),
    [
      Table(["one thread", *head], rows, [0, 1]),
      Table(["items scored (coverage)", *head], scored, [0, 1]),
    ],
    losses,
  )


def _milliseconds(at: Figures) -> str:
  return f"{at['ms']:,.2f} ms ({at['ms_q1']:,.2f} to {at['ms_q3']:,.2f})"


def _neural(figures: Figures) -> Block:
  rows = []
  for policy in ("best_first", "paper"):
    rows.append(
      [
        f"NANN, {policy}",
        f"{figures[f'{policy}_ms']:.2f} ms",
        f"{figures[f'{policy}_p99_ms']:.2f} ms",
        f"{figures[f'{policy}_num_scored']:,.0f}",
        f"{figures[f'{policy}_coverage']:.3f}",
        f"{figures[f'{policy}_coverage_p5']:.3f}",
        f"{figures[f'bound_fraction_{policy}']:.0%}",
        f"{figures[f'speedup_vs_stock_ops_{policy}']:.1f}x",
      ]
    )
  return Block(
    "neural",
    "One request under a neural scorer",
    f"{figures['num_items']:,} items, one thread,"
    f" {figures['num_users']} users. The bound is the time that the scorer's"
    " multiply-adds would take in one large matrix product"
    f" ({figures['sgemm_gflops']:.0f} GFLOP/s in this run). Two threads answer"
    f" {figures['two_thread_scaling']:.2f} times the requests of one.",
    tables=[
      Table(
        [
          "policy",
          "median",
          "p99",
          "items scored",
          "coverage",
          "worst 5 %",
          "of the bound",
          "against stock ops",
        ],
        rows,
        [0, 1],
      )
    ],
  )


def _metric(name: str, figures: Figures) -> Block:
  k, curves = figures["k"], figures["curves"]
  rows, losses = [], []
  found = {key: LIBRARIES[key] for key in LIBRARIES if key in curves}
  for key, library in found.items():
    row = [library]
    for percent in _RECALL_PERCENTS:
      for suffix in ("", "_2_threads"):
        qps = figures.get(f"qps_{key}_at_recall_{percent}{suffix}")
        row.append(f"{qps:,.0f}" if qps else "-")
      ratio = figures.get(f"qps_ratio_{key}_at_recall_{percent}")
      if ratio and ratio <= 1:
        losses.append(
          f"recall@{k} {percent / 100}: {library} answers"
          f" {1 / ratio:.2f}x our queries"
        )
    row.append(_build_seconds(key, figures))
    size = figures.get(f"size_mb_{key}")
    row.append(f"{size:,.0f}" if size else "-")
    row.append(figures.get(f"version_{key}", ""))
    rows.append(row)
  head = ["queries/s at recall"]
  for percent in _RECALL_PERCENTS:
    head += [f"{percent / 100}", f"{percent / 100}, 2 threads"]
  return Block(
    name,
    f"Nearest vectors: recall@{k}",
    f"{figures['num_vectors']:,} vectors of width {figures['width']} in"
    f" clusters, Euclidean, {figures['num_queries']} queries in turns with the"
    " others; each library as PyPI has it, built as its documentation advises;"
    " MB: graph or tree, vectors and codes."
    " Ours walks faiss's graph with lists made anew. Bands: quartiles.",
    page_pictures.to_svgs(
      [
        (
          "Queries a second against recall",
          page_pictures.queries_against_recall(curves, found, k),
        )
      ]
    ),
    [Table([*head, "build, s", "MB", "version"], rows)],
    losses,
  )


def _build_seconds(library: str, figures: Figures) -> str:
  if library == "nann":
    parts = ("build_s_faiss", "refine_s_nann", "prepare_s_nann")
    seconds = sum(figures.get(part, 0.0) for part in parts)
  else:
    seconds = figures.get(f"build_s_{library}", 0.0)
  return f"{seconds:,.0f}"


def _serving(figures: Figures) -> Block:
  rows, ours = [], []
  for policy, of_clients in figures["policies"].items():
    for clients, at in of_clients.items():
      ours.append(len(rows))
      rows.append(
        [
          f"{policy}, {clients}",
          f"{at['in_process_per_s']:,.0f}",
          f"{at['served_per_s']:,.0f}",
          f"{at['served_per_s'] / at['in_process_per_s']:.2f}",
          f"{at['in_process_p50_ms']:.2f}",
          f"{at['served_p50_ms']:.2f}",
          f"{at['served_p99_ms']:.2f}",
          f"{at['refused_share']:.1%}",
        ]
      )
  text = (
    f"The model exported, {figures['num_items']:,} items; server, load and"
    " in-process runs share the machine's processors, and the generator's share"
    " is taken out."
  )
  losses = []
  if cpp := figures["cpp"]:
    text += (
      " In C++, without Python or protocol, nann_benchmark counts"
      f" {cpp['one_thread_per_s']:,.0f} answers a second on one thread and"
      f" {cpp['two_threads_per_s']:,.0f} on two:"
      f" {cpp['two_thread_scaling']:.2f}x."
    )
    if cpp["two_thread_scaling"] < 1.9:
      losses.append(
        f"two threads in C++ reach {cpp['two_thread_scaling']:.2f}x of one,"
        " we aim at 1.9x"
      )
  best_first = figures["policies"].get("best_first", {})
  pictures = [
    (f"Answers a second, {policy}", page_pictures.throughput_by_clients(found))
    for policy, found in figures["policies"].items()
  ]
  for clients, at in best_first.items():
    if at["served_per_s"] < 0.5 * at["in_process_per_s"]:
      losses.append(
        f"served by gRPC to {clients} clients, best_first reaches"
        f" {at['served_per_s'] / at['in_process_per_s']:.0%} of in-process,"
        " we aim at 50 %: Python's gRPC costs as much as the search"
      )
  return Block(
    "serving",
    "Serving",
    text,
    page_pictures.to_svgs(pictures),
    [
      Table(
        [
          "policy, clients",
          "in process/s",
          "served/s",
          "ratio",
          "in process p50, ms",
          "served p50, ms",
          "served p99, ms",
          "refused",
        ],
        rows,
        ours,
      )
    ],
    losses,
  )


def _work(figures: Figures) -> Block:
  rows = []
  if data := figures.get("data"):
    rows.append(
      [
        f"data preparation, {data['num_rows']:,} rows",
        f"{data['rows_per_s']:,.0f} rows/s",
        f"{data['peak_rss_gb']:.1f} GB;"
        f" {data['seconds_over_parse']:.1f}x of parsing the csv",
      ]
    )
  if training := figures.get("training"):
    rows.append(
      [
        "training",
        f"{training['samples_per_s']:,.0f} samples/s",
        f"{training['peak_rss_gb']:.1f} GB; {training['step_ms']:.0f} ms a"
        f" step, {training['adversarial_cost']:.2f}x of one without the"
        " adversarial pass",
      ]
    )
  return Block(
    "work",
    "Before there is anything to search",
    "From a csv to records, and training with the tables of UserBehavior"
    " (4.16 M items, 800 x 200 pairs a step).",
    tables=[Table(["", "speed", ""], rows, range(len(rows)))],
  )
