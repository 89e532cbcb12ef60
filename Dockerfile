# The page in the browser, on a CPU: docker build -t deocclude . && docker run -p 127.0.0.1:7860:7860 deocclude
FROM python:3.12-slim-bookworm
RUN apt-get update \
 && apt-get install -y --no-install-recommends libegl1 libgl1 libgles2 libglib2.0-0 \
 && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir torch torchvision --index-url https://download.pytorch.org/whl/cpu
COPY . /tmp/deocclude
RUN pip install --no-cache-dir "/tmp/deocclude[app,heic]" && rm -r /tmp/deocclude
RUN useradd --create-home visitor
USER visitor
WORKDIR /home/visitor
ENV GRADIO_SERVER_NAME=0.0.0.0 GRADIO_SERVER_PORT=7860
EXPOSE 7860
CMD ["deocclude", "app"]
