# TensorFlow Serving's ModelServer with NANN's ops linked in.
#
#   docker build -f docker/serving.Dockerfile -t nann_serving .
#
# from the root of this repository. The build of ModelServer takes hours and some
# 30 GB of disk; --build-arg BAZEL_OPTIONS="--jobs=4" limits its memory.
ARG TF_SERVING_VERSION=2.21.0

# TensorFlow Serving's sources, Bazel and compilers.
FROM tensorflow/serving:${TF_SERVING_VERSION}-devel AS build
WORKDIR /tensorflow-serving
COPY BUILD tensorflow_serving/custom_ops/nann/
COPY ops/core/ tensorflow_serving/custom_ops/nann/ops/core/
COPY ops/tf/ tensorflow_serving/custom_ops/nann/ops/tf/
COPY docker/link_ops.sh /usr/local/bin/
RUN link_ops.sh tensorflow_serving/model_servers/BUILD
ARG BUILD_OPTIONS="--config=release"
ARG BAZEL_OPTIONS=""
# The options are lists.
# hadolint ignore=SC2086
RUN bazel build ${BUILD_OPTIONS} ${BAZEL_OPTIONS} \
      tensorflow_serving/model_servers:tensorflow_model_server && \
    install -D bazel-bin/tensorflow_serving/model_servers/tensorflow_model_server \
      /out/tensorflow_model_server

FROM ubuntu:22.04
# Ubuntu's archive keeps no old versions that could be asked for.
# hadolint ignore=DL3008
RUN apt-get update && \
    apt-get install -y --no-install-recommends ca-certificates curl && \
    rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --uid 10001 serving
COPY --from=build /out/tensorflow_model_server /usr/bin/
USER 10001
ENV MODEL_NAME=nann MODEL_BASE_PATH=/models
EXPOSE 8500 8501
# As in TensorFlow Serving's own image: flags of `docker run` are added.
ENTRYPOINT ["/bin/sh", "-c", "exec tensorflow_model_server --port=8500 --rest_api_port=8501 --model_name=\"${MODEL_NAME}\" --model_base_path=\"${MODEL_BASE_PATH}/${MODEL_NAME}\" \"$@\"", "tensorflow_model_server"]
