import gzip
import pathlib

import pytest

from nann.data_provider import behavior_log, engines, log_format

GOOD = "1,10,5,pv,1511544070\n1,11,5,buy,1511544071\n2,12,6,pv,1511544072\n"


def load(
  folder: pathlib.Path,
  texts: list[str] | str,
  names: dict[str, str] | None = None,
  behaviors: tuple[str, ...] = (),
  time_window: tuple[int, ...] = (),
) -> tuple[list[tuple], behavior_log.RowCounts]:
  """Writes files and reads them; returns (user, item, category, time)."""
  texts = [texts] if isinstance(texts, str) else texts
  inputs = []
  for number, text in enumerate(texts):
    path = folder / f"{number}.csv"
    path.write_text(text)
    inputs.append(path)
  return load_files(folder, inputs, names, behaviors, time_window)


def load_files(
  folder: pathlib.Path,
  inputs: list[pathlib.Path],
  names: dict[str, str] | None = None,
  behaviors: tuple[str, ...] = (),
  time_window: tuple[int, ...] = (),
  engine_name: str = "duckdb",
) -> tuple[list[tuple], behavior_log.RowCounts]:
  layout = log_format.inspect_log(inputs, names or {})
  engine = engines.open_engine(engine_name, folder, "1GB", "local[1]")
  counts = behavior_log.load_events(
    engine, inputs, layout, behaviors, time_window
  )
  table = engine.query(
    "SELECT user_id, item_id, category_id, timestamp FROM events ORDER BY line"
  )
  engine.close()
  columns = [column.to_pylist() for column in table.columns]
  return list(zip(*columns, strict=True)), counts


def test_headerless_file_is_read_in_order(tmp_path: pathlib.Path) -> None:
  rows, counts = load(tmp_path, GOOD)
  assert rows == [
    (1, 10, 5, 1511544070),
    (1, 11, 5, 1511544071),
    (2, 12, 6, 1511544072),
  ]
  assert counts.num_rows == 3
  assert counts.num_bad == 0


def test_compressed_file_is_read(tmp_path: pathlib.Path) -> None:
  path = tmp_path / "a.csv.gz"
  path.write_bytes(gzip.compress(GOOD.encode()))
  rows, _ = load_files(tmp_path, [path])
  assert len(rows) == 3


def test_several_files_are_read_one_after_the_other(
  tmp_path: pathlib.Path,
) -> None:
  rows, counts = load(tmp_path, [GOOD, "9,9,9,pv,1511544000\n9,,9,pv,1\n"])
  assert [row[0] for row in rows] == [1, 1, 2, 9]
  assert counts.first_bad["empty id"].endswith("1.csv, line 2")


def test_header_names_the_columns(tmp_path: pathlib.Path) -> None:
  text = "timestamp,item_id,extra,user_id,category_id\n7,10,x,1,5\n8,11,y,1,5\n"
  rows, counts = load(tmp_path, text)
  assert rows == [(1, 10, 5, 7), (1, 11, 5, 8)]
  assert counts.num_rows == 2


def test_foreign_names_are_mapped(tmp_path: pathlib.Path) -> None:
  text = "uid,sku,time\nann,a-1,7\nbob,b-2,8\n"
  names = {"user_id": "uid", "item_id": "sku", "timestamp": "time"}
  rows, _ = load(tmp_path, text, names)
  # Without a category column every item is in one category.
  assert rows == [("ann", "a-1", 0, 7), ("bob", "b-2", 0, 8)]


@pytest.mark.parametrize("text", ["1.5", "1e3", "1e2", "0x10", "1_0", "1."])
def test_number_that_is_no_integer_is_not_rounded(
  tmp_path: pathlib.Path, text: str
) -> None:
  good = 20 * GOOD
  rows, counts = load(tmp_path, f"{good}3,{text},5,pv,7\n4,1,5,pv,{text}\n")
  assert len(rows) == 60
  assert counts.bad == {behavior_log.BAD_ID: 1, behavior_log.BAD_TIMESTAMP: 1}


def test_integer_may_have_zeros_a_sign_and_spaces(
  tmp_path: pathlib.Path,
) -> None:
  rows, counts = load(tmp_path, 20 * GOOD + "007,+5, 6 ,pv,-3\n")
  assert rows[-1] == (7, 5, 6, -3)
  assert not counts.num_bad


def test_quotes_and_spaces_are_taken_off(tmp_path: pathlib.Path) -> None:
  rows, _ = load(tmp_path, '"1", "10" ,5,"pv", 7\n2,11,5,pv,8\r\n')
  assert rows == [(1, 10, 5, 7), (2, 11, 5, 8)]


def test_text_ids_are_kept_as_text(tmp_path: pathlib.Path) -> None:
  rows, _ = load(tmp_path, "é1,007,c,pv,7\nu2,x8,c,pv,8\n")
  assert rows == [("é1", "007", "c", 7), ("u2", "x8", "c", 8)]


def test_bad_rows_are_counted_by_kind_with_the_first_line(
  tmp_path: pathlib.Path,
) -> None:
  good = "1,10,5,pv,100\n" * 60
  bad = (
    "1,11,5,pv\n"  # line 61
    "\n"
    "1,12,5,pv,noon\n"
    ",13,5,pv,100\n"
    "1,13,,pv,100\n"
    "u7,13,5,pv,100\n"
    "1,13,5,pv,99\n"
    "1,13,5,pv,\n"
  )
  rows, counts = load(tmp_path, good + bad, time_window=(100, 200))
  assert len(rows) == 60
  assert counts.bad == {
    "missing field": 1,
    "empty id": 2,
    "id is not an integer": 1,
    "timestamp is not an integer": 2,
    "outside the time window": 1,
  }
  lines = {k: v.rsplit(" ", 1)[1] for k, v in counts.first_bad.items()}
  assert lines == {
    "missing field": "61",
    "timestamp is not an integer": "63",
    "empty id": "64",
    "id is not an integer": "66",
    "outside the time window": "67",
  }
  assert counts.num_rows == 67


def test_undecodable_line_is_counted(tmp_path: pathlib.Path) -> None:
  path = tmp_path / "a.csv"
  path.write_bytes(b"1,10,5,pv,7\n1,11,5,p\xff\xfe,8\n1,12,5,pv,9\n,1,1,pv,1\n")
  rows, counts = load_files(tmp_path, [path])
  assert [row[1] for row in rows] == [10, 12]
  assert counts.bad == {behavior_log.UNREADABLE: 1, behavior_log.EMPTY_ID: 1}
  assert counts.first_bad[behavior_log.EMPTY_ID].endswith("line 4")
  assert counts.first_bad[behavior_log.UNREADABLE].endswith("line 2")


def test_unclosed_quote_spoils_one_row_only(tmp_path: pathlib.Path) -> None:
  rows, _ = load(tmp_path, GOOD + '3,"13,6,pv,9\n4,14,6,pv,10\n')
  assert [row[0] for row in rows] == [1, 1, 2, 3, 4]


def test_other_behaviors_are_left_out_and_are_not_bad(
  tmp_path: pathlib.Path,
) -> None:
  rows, counts = load(tmp_path, GOOD, behaviors=("buy", "fav"))
  assert [row[1] for row in rows] == [11]
  assert counts.num_bad == 0
  assert counts.num_other_behavior == 2


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("", "is empty"),
    ("\n\n", "is empty"),
    ("user_id,item_id,category_id,behavior,timestamp\n", "nothing else"),
    ("a,b,c\n1,2,3\n", "no column user_id, item_id, timestamp"),
    ("1,2,3\n4,5,6\n", "has 3 fields a line"),
    ("hello world\n", "no column user_id"),
  ],
)
def test_foreign_file_is_refused(
  tmp_path: pathlib.Path, text: str, message: str
) -> None:
  with pytest.raises(ValueError, match=message):
    load(tmp_path, text)


def test_missing_file_is_refused(tmp_path: pathlib.Path) -> None:
  with pytest.raises(FileNotFoundError, match="--input names the csv"):
    load_files(tmp_path, [tmp_path / "none.csv"])


def test_damaged_gzip_is_refused(tmp_path: pathlib.Path) -> None:
  path = tmp_path / "a.csv.gz"
  path.write_text(GOOD)
  with pytest.raises(ValueError, match="cannot be read"):
    load_files(tmp_path, [path])


def test_files_of_two_layouts_are_refused(tmp_path: pathlib.Path) -> None:
  header = "user_id,item_id,category_id,behavior,timestamp\n"
  with pytest.raises(ValueError, match="laid out unlike"):
    load(tmp_path, [GOOD, header + GOOD])


def test_bad_memory_limit_is_refused(tmp_path: pathlib.Path) -> None:
  with pytest.raises(ValueError, match="--memory-limit is 'much'"):
    engines.open_engine("duckdb", tmp_path, "much", "local[1]")


def test_events_outside_the_real_window_are_found(
  tmp_path: pathlib.Path, shared: pathlib.Path
) -> None:
  path = shared / "data" / "taobao_head100k.csv.gz"
  rows, counts = load_files(
    tmp_path, [path], time_window=(1511539200, 1512316800)
  )
  assert counts.num_rows == 100_001
  assert counts.bad == {behavior_log.OUTSIDE_WINDOW: 44}
  assert len(rows) == 100_001 - 44
