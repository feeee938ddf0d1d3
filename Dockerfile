# The demo in a container, on CPUs:
#
#   docker build -t study . && docker run --rm --shm-size 2g -v study-runs:/home/study/app/runs study
#
# The image also serves clusters/kuberay.yaml, because the pinned torch runs on NVIDIA GPUs as well.
FROM python:3.12.12-slim-bookworm

# make sets up the project, wget answers KubeRay's health checks.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends make wget \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home --uid 1000 study
USER 1000
WORKDIR /home/study/app

# The packages first: a change to the code alone keeps this layer.
COPY --chown=study:study Makefile pyproject.toml requirements.txt README.md LICENSE ./
RUN mkdir analysis search_spaces study trainables runs && make setup

COPY --chown=study:study analysis analysis
COPY --chown=study:study search_spaces search_spaces
COPY --chown=study:study study study
COPY --chown=study:study trainables trainables

ENV PATH=/home/study/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RAY_USAGE_STATS_ENABLED=0
CMD ["python", "-m", "study.run", "digits"]
