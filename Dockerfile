# Three images from one file, all from docker/constraints.txt:
#
#   docker build --target api         -t allinone-face:api .          no PyTorch, answers HTTP
#   docker build --target worker-cpu  -t allinone-face:worker-cpu .   PyTorch's CPU build
#   docker build --target worker-cuda -t allinone-face:worker-cuda .  PyTorch's CUDA 13.0 build
#
# What each step does is tried by a test, in a fresh Debian with what it makes started (as root, minutes):
#
#   FACE_TEST_IMAGES=api,worker-cpu pytest tests/ship/test_container_images.py      or api,worker-cuda
#
# python ─ build ─┬ api-packages ─┬ worker-cpu-packages
#                 └ app           └ worker-cuda-packages        each image: python + packages + app
#
# The base is pinned by its digest (all platforms'); the tag before it is for readers. A newer one: --build-arg BASE=…
# It is the same for CUDA: PyTorch's wheels bring CUDA's libraries with them (pinned in the lock), an nvidia/cuda base
# would only hold them a second time. The driver comes from the host, through the NVIDIA container toolkit.
ARG BASE=debian:bookworm-20260824-slim@sha256:88200866dfff7ea7f5cbcb6ec7c8a701889efe6fe859fe64d6990e4b07ea4171

# -- what every image stands on: Debian's Python 3.11 and a user without rights ------------------------------------------
FROM ${BASE} AS python
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates python3 \
 && rm -rf /var/lib/apt/lists/* /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log \
 && groupadd --gid 10001 face \
 && useradd --uid 10001 --gid face --no-create-home --home-dir /data --shell /usr/sbin/nologin face \
 && install -d -o face -g face -m 0700 /data /users /users/api /users/worker \
 && install -d -o face -g face -m 0755 /users/default
ENV PATH=/app/bin:/opt/face/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONPATH=/app/lib/python3.11/site-packages \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    FACE_DATA_DIR=/data

# -- what builds them, and stays behind --------------------------------------------------------------------------------
FROM python AS build
ENV PYTHONPATH= \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3-pip \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY docker/constraints.txt docker/requirements-api.txt docker/requirements-build.txt ./
COPY docker/requirements-worker-cpu.txt docker/requirements-worker-cuda.txt pyproject.toml ./

# -- packages: change with the lock only; files with other hashes than docker/lock wrote down are refused -----------------------------------------------------------------------------------
FROM build AS api-packages
RUN python3 -m venv --without-pip /opt/face \
 && /usr/bin/python3 -m pip --python /opt/face/bin/python install --require-hashes -r requirements-api.txt

FROM api-packages AS worker-cpu-packages
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# PyTorch without CUDA comes from an index that tells no hashes: it is installed by its version; what it needs is there by then.
RUN /usr/bin/python3 -m pip --python /opt/face/bin/python install --require-hashes -r requirements-worker-cpu.txt \
 && /usr/bin/python3 -m pip --python /opt/face/bin/python install -c constraints.txt torch --extra-index-url "$TORCH_INDEX"

FROM api-packages AS worker-cuda-packages
RUN /usr/bin/python3 -m pip --python /opt/face/bin/python install --require-hashes -r requirements-worker-cuda.txt

# -- this project: changes with every commit ---------------------------------------------------------------------------
FROM api-packages AS app
RUN python3 -m venv --without-pip /opt/hatch \
 && /usr/bin/python3 -m pip --python /opt/hatch/bin/python install --require-hashes -r requirements-build.txt
COPY README.md LICENSE LICENSE-WEIGHTS ./
COPY model model
COPY service service
RUN /opt/hatch/bin/python -m hatchling build --target wheel --directory dist \
 && /usr/bin/python3 -m pip --python /opt/face/bin/python install --no-deps --prefix /app dist/*.whl

# The API answers without the model: its image leaves the weights out.
FROM app AS api-app
RUN rm /app/lib/python3.11/site-packages/model/weights/*.safetensors

# -- the images ----------------------------------------------------------------------------------------------------------
FROM python AS api
COPY --from=api-packages /opt/face /opt/face
COPY --from=api-app /app /app
ENV FACE_HOST=0.0.0.0 \
    FACE_PORT=8000
USER 10001:10001
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
    CMD ["python3", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"FACE_PORT\"]}/livez', timeout=4)"]
ENTRYPOINT ["allinone-face"]
CMD ["api"]

FROM python AS worker-cpu
COPY --from=worker-cpu-packages /opt/face /opt/face
COPY --from=app /app /app
ENV FACE_HOST=0.0.0.0 \
    FACE_DEVICE=cpu \
    FACE_METRICS_PORT=9100
USER 10001:10001
VOLUME /data
EXPOSE 9100
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python3", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"FACE_METRICS_PORT\"]}/livez', timeout=4)"]
ENTRYPOINT ["allinone-face"]
CMD ["worker"]

FROM python AS worker-cuda
COPY --from=worker-cuda-packages /opt/face /opt/face
COPY --from=app /app /app
ENV FACE_HOST=0.0.0.0 \
    FACE_DEVICE=cuda \
    FACE_METRICS_PORT=9100 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    NVIDIA_REQUIRE_CUDA=cuda>=13.0
USER 10001:10001
VOLUME /data
EXPOSE 9100
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s \
    CMD ["python3", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"FACE_METRICS_PORT\"]}/livez', timeout=4)"]
ENTRYPOINT ["allinone-face"]
CMD ["worker"]
