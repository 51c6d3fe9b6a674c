#!/bin/sh
# Adds NANN's ops to what TensorFlow Serving's ModelServer links.
#
#   link_ops.sh tensorflow_serving/model_servers/BUILD
#
# The documented way to serve custom ops: their target goes into the list
# SUPPORTED_TENSORFLOW_OPS. Running it twice changes nothing.
set -eu

build_file=$1
target=//tensorflow_serving/custom_ops/nann:nann_ops

if ! grep -q '^SUPPORTED_TENSORFLOW_OPS = ' "$build_file"; then
  echo "$build_file has no line 'SUPPORTED_TENSORFLOW_OPS = ...'; this release" \
    "of TensorFlow Serving lists its ops elsewhere" >&2
  exit 1
fi
grep -q "$target" "$build_file" && exit 0
sed -i "s|^SUPPORTED_TENSORFLOW_OPS = |&[\"$target\"] + |" "$build_file"
