"""Who runs, who waits, who is refused."""

import concurrent.futures
import contextlib
import threading
import time

import pytest

from nann.serving.admission import Admission
from nann.serving.call_limit import CallLimit
from nann.serving.errors import Code, ServingError
from tests.nann.serving.waiting import wait_until


def code_of(caught: pytest.ExceptionInfo[ServingError]) -> Code:
  return caught.value.code


def test_beyond_the_bound_is_refused_at_once() -> None:
  admission = Admission(max_running=1, max_waiting=1)
  with admission.admitted(), admission.admitted():
    with pytest.raises(ServingError, match="2 requests") as caught:
      admission.admitted().__enter__()
    assert code_of(caught) == Code.RESOURCE_EXHAUSTED
  with admission.admitted():
    pass


def test_no_more_may_wait_than_run_in_time() -> None:
  admission = Admission(max_running=2, max_waiting=100, max_wait_s=0.5)
  # Nothing is known yet.
  assert admission.native.waiting_bound() == 100
  for _ in range(200):
    admission._take_place(CallLimit())
    admission.native.give_place(0.1)
  assert admission.native.waiting_bound() == pytest.approx(10)
  # One that was held up changes little; one that did not run, nothing.
  admission._take_place(CallLimit())
  admission.native.give_place(60.0)
  assert admission.native.waiting_bound() > 8
  for _ in range(500):
    admission._take_place(CallLimit())
    admission.native.give_place(60.0)
  assert admission.native.waiting_bound() == 2
  with admission.patient():
    assert admission.native.waiting_bound() == 100
  assert admission.native.waiting_bound() == 2


def test_closed_admits_nobody() -> None:
  admission = Admission(1, 1)
  admission.close()
  with pytest.raises(ServingError, match="shutting down") as caught:
    admission.admitted().__enter__()
  assert code_of(caught) == Code.UNAVAILABLE


def test_places_go_in_order_of_arrival() -> None:
  admission = Admission(1, 8)
  order: list[int] = []

  def run(number: int) -> None:
    with admission.place(CallLimit()):
      order.append(number)

  threads = [threading.Thread(target=run, args=(i,)) for i in range(8)]
  with admission.place(CallLimit()):
    for number, thread in enumerate(threads):
      thread.start()
      wait_until(lambda n=number: admission.num_waiting == n + 1)
  for thread in threads:
    thread.join()
  assert order == list(range(8))
  assert (admission.num_running, admission.num_waiting) == (0, 0)


def test_deadline_passes_while_waiting() -> None:
  admission = Admission(1, 1)
  with admission.place(CallLimit()):
    with pytest.raises(ServingError, match="while waiting") as caught:
      admission.place(CallLimit(0.01)).__enter__()
    assert code_of(caught) == Code.DEADLINE_EXCEEDED
    assert admission.num_waiting == 0
  with admission.place(CallLimit(5.0)):
    assert admission.num_running == 1


def test_cancelled_request_is_not_run() -> None:
  admission = Admission(1, 1)
  limit = CallLimit()
  limit.cancel()
  with pytest.raises(ServingError) as caught:
    admission.place(limit).__enter__()
  assert code_of(caught) == Code.CANCELLED
  assert admission.num_running == 0


def test_many_threads_never_exceed_the_bound() -> None:
  admission = Admission(3, 64)
  running, most = 0, 0
  mutex = threading.Lock()

  def run(number: int) -> None:
    nonlocal running, most
    limit = CallLimit(0.0005 * (number % 4 + 1))
    with contextlib.suppress(ServingError), admission.place(limit):
      with mutex:
        running += 1
        most = max(most, running)
      # Spends some of the others' time.
      end = time.perf_counter() + 0.0005
      while time.perf_counter() < end:
        pass
      with mutex:
        running -= 1

  with concurrent.futures.ThreadPoolExecutor(16) as pool:
    list(pool.map(run, range(400)))
  assert 1 <= most <= 3
  assert (admission.num_running, admission.num_waiting) == (0, 0)
