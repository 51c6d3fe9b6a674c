"""Asks a server for the items of an empty history, with nothing but stubs.

Works with job serve and with TensorFlow Serving alike:
  python examples/serving_client.py [host:port]
"""

import sys

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
  predict_pb2,
  prediction_service_pb2_grpc,
)

target = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8500"
channel = grpc.insecure_channel(target)
stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

request = predict_pb2.PredictRequest()
request.model_spec.name = "nann"
request.model_spec.signature_name = "serving_default"
# 50 items of the history, each an item's and a category's embedding of 32.
comm_seq = np.zeros((1, 3200), dtype=np.float16)
level_topn = [100, 200, 200, 200, 200, 200]
request.inputs["comm_seq"].CopyFrom(tf.make_tensor_proto(comm_seq))
request.inputs["level_topn"].CopyFrom(tf.make_tensor_proto(level_topn))

response = stub.Predict(request, timeout=10.0)
print(tf.make_ndarray(response.outputs["top_k"]))
