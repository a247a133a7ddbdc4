# Two images, for amd64 and arm64, from wheels only.
#
#   podman build --tag audiotag .                  the light core: tags, listens, merges, with exported models
#   podman build --tag audiotag --target whole .   with torch and every plugin of this repository
#
# pip asks the index that it is told: --build-arg PIP_INDEX_URL=…, for instance one that has torch for processors alone.
# Docker takes the same commands. Our own wheels are named by file: an index may have another project of a name of ours.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS wheels
ARG PIP_INDEX_URL
WORKDIR /build
COPY . .
RUN pip wheel --quiet --no-deps --wheel-dir /build/wheels . plugins/*/

FROM python:${PYTHON}-slim AS base
ENV PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PYTHONUNBUFFERED=1 AUDIOTAG_CACHE=/cache
RUN apt-get update && apt-get install --yes --no-install-recommends libportaudio2 && rm -rf /var/lib/apt/lists/*
RUN useradd --no-create-home audiotag && mkdir /cache /data && chown audiotag /cache /data
WORKDIR /data
VOLUME /cache

FROM base AS whole
ARG PIP_INDEX_URL
RUN --mount=type=bind,from=wheels,source=/build/wheels,target=/wheels \
    pip install --quiet --only-binary :all: /wheels/*.whl "$(echo /wheels/audiotag-*.whl)[all]"
USER audiotag
ENTRYPOINT ["audiotag"]

FROM base AS light
ARG PIP_INDEX_URL
RUN --mount=type=bind,from=wheels,source=/build/wheels,target=/wheels \
    pip install --quiet --only-binary :all: "$(echo /wheels/audiotag-*.whl)[live,parquet,search,video]"
USER audiotag
ENTRYPOINT ["audiotag"]
