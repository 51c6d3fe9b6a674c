"""Sends requests over and over and says how long the answers took.

A program of its own, so that its processor time can be told from the server's:
  serving_generator.py TARGET REQUEST_FILE RATE SECONDS SEED
RATE > 0: an open loop, RATE requests a second at random (Poisson) moments,
whether or not earlier ones have been answered; a latency counts from the moment
at which the request was meant to go. RATE < 0: a closed loop of -RATE clients.
Prints JSON: codes, latencies in ms and moments of the requests, processor
seconds. Imports no TensorFlow, so that it starts at once.
"""

import itertools
import json
import pathlib
import resource
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import grpc
import numpy as np

_METHOD = "/tensorflow.serving.PredictionService/Predict"
_NUM_CHANNELS = 8
_DEADLINE_S = 10.0


def _callables(target: str, number: int) -> list[Any]:
  """Returns a method on each of some connections."""
  options = [("grpc.use_local_subchannel_pool", 1)]
  found = []
  for _ in range(number):
    channel = grpc.insecure_channel(target, options)
    grpc.channel_ready_future(channel).result(timeout=30)
    found.append(channel.unary_unary(_METHOD))
  return found


def open_loop(
  target: str,
  requests: Sequence[bytes],
  rate: float,
  seconds: float,
  seed: int,
) -> list[tuple[float, float, str]]:
  """Returns (moment, latency, code) of each request; times in seconds."""
  methods = _callables(target, _NUM_CHANNELS)
  rng = np.random.default_rng(seed)
  gaps = rng.exponential(1 / rate, int(rate * seconds))
  moments = np.cumsum(gaps)
  done: list[tuple[float, float, str]] = []
  is_over = threading.Semaphore(0)
  start = time.perf_counter() + 0.05

  def note(moment: float, future: grpc.Future) -> None:
    latency = time.perf_counter() - start - moment
    done.append((moment, latency, future.code().name))
    is_over.release()

  for number, moment in enumerate(moments.tolist()):
    wait_s = start + moment - time.perf_counter()
    if wait_s > 0:
      time.sleep(wait_s)
    method = methods[number % _NUM_CHANNELS]
    request = requests[number % len(requests)]
    future = method.future(request, timeout=_DEADLINE_S)
    future.add_done_callback(lambda it, moment=moment: note(moment, it))
  for _ in moments:
    is_over.acquire()
  return done


def closed_loop(
  target: str, requests: Sequence[bytes], num_clients: int, seconds: float
) -> list[tuple[float, float, str]]:
  """Likewise; each client sends when it has its answer."""
  done: list[tuple[float, float, str]] = []
  numbers = itertools.count()
  start = time.perf_counter()

  def send(method: Any) -> None:
    while (begin := time.perf_counter()) < start + seconds:
      code = "OK"
      request = requests[next(numbers) % len(requests)]
      try:
        method(request, timeout=_DEADLINE_S)
      except grpc.RpcError as error:
        code = error.code().name
      done.append((begin - start, time.perf_counter() - begin, code))

  threads = [
    threading.Thread(target=send, args=(method,))
    for method in _callables(target, num_clients)
  ]
  start = time.perf_counter()
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  return done


def main() -> None:
  target, file, rate_text, seconds_text, seed = sys.argv[1:6]
  requests = [pathlib.Path(file).read_bytes()]
  rate, seconds = float(rate_text), float(seconds_text)
  before = resource.getrusage(resource.RUSAGE_SELF)
  begin = time.perf_counter()
  if rate > 0:
    done = open_loop(target, requests, rate, seconds, int(seed))
  else:
    done = closed_loop(target, requests, int(-rate), seconds)
  used = resource.getrusage(resource.RUSAGE_SELF)
  json.dump(
    {
      "seconds": time.perf_counter() - begin,
      "processor_s": (
        used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
      ),
      "codes": [code for _, _, code in done],
      "moments_s": [moment for moment, _, _ in done],
      "latencies_ms": [1e3 * latency for _, latency, _ in done],
    },
    sys.stdout,
  )


if __name__ == "__main__":
  main()
