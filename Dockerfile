# The page with the built-in weights, as a user without privileges.
#
#   docker build -t aios .                                      CPU
#   docker build --build-arg TORCH_INDEX= -t aios-cuda .        CUDA
#   docker run -p 7860:7860 aios                                add --gpus all for CUDA
FROM python:3.12-slim-bookworm

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

# The renderer; the program also works without it, more slowly.
# hadolint ignore=DL3008
RUN apt-get update -q \
    && apt-get install -qy --no-install-recommends libegl1 libgl1 libgl1-mesa-dri \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --uid 1000 --create-home aios
WORKDIR /home/aios/app
COPY requirements.txt ./
RUN pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -r requirements.txt
COPY app.py ./
COPY aios aios
COPY assets assets
COPY checkpoints checkpoints

USER 1000
ENV GRADIO_SERVER_NAME=0.0.0.0 GRADIO_SERVER_PORT=7860
EXPOSE 7860
HEALTHCHECK --start-period=120s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/health')"]
# SIGTERM lets running jobs end: give `docker stop --time` more than AIOS_STOP_SECONDS.
CMD ["python", "app.py"]
