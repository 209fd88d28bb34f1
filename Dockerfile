# An image with the command MEDS_transforms and all scripts. Guide: docs/guides/docker.md
#
#   docker build --tag meds_transforms .
#   docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/data" meds_transforms demo

FROM python:3.12-slim AS build
# Extras, in brackets and separated by commas: --build-arg 'EXTRAS=[local-parallelism,slurm-parallelism,report]'
ARG EXTRAS=[local-parallelism,report]
WORKDIR /src
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY src src
COPY configs configs
COPY examples/demo examples/demo
RUN pip wheel --no-cache-dir --wheel-dir /wheels ".${EXTRAS}"

FROM python:3.12-slim
ARG VERSION=unknown
LABEL org.opencontainers.image.title="MEDS_transforms" \
      org.opencontainers.image.description="Makes MEDS datasets of raw tables, and tensors of MEDS datasets" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}"
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index /wheels/*.whl
# The home folder is one that every user can write to, whoever --user names.
ENV HOME=/tmp PYTHONUNBUFFERED=1
# By number, so that Kubernetes sees that it is not root.
USER 1000:1000
WORKDIR /data
ENTRYPOINT ["MEDS_transforms"]
CMD ["--help"]
