# Two ways to the same image:
#   docker build -t sluice .
#   cp sluice ca-certificates.crt dist/ && docker build -t sluice --target prebuilt .
# The second takes a binary that is already there, and pulls no base image.
ARG RUST_VERSION=1.95

FROM docker.io/library/rust:${RUST_VERSION}-bookworm AS build
WORKDIR /src
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# Static with glibc: the flag takes only where a target is named, so that build scripts and
# procedural macros stay as they are.
ENV RUSTFLAGS="-C target-feature=+crt-static --cfg getrandom_backend=\"linux_getrandom\"" \
    CARGO_TERM_COLOR=never
RUN rustc -vV | sed -n 's/^host: //p' > /target
# The dependencies in a layer of their own, which lasts until Cargo.lock changes.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src tests/integration benches \
    && echo 'fn main() {}' | tee src/main.rs tests/tidy.rs tests/corpora.rs \
        tests/integration/main.rs benches/route_table.rs benches/http1.rs benches/headers.rs \
        benches/request_path.rs benches/balance.rs > /dev/null \
    && touch src/lib.rs \
    && cargo build --release --locked --target "$(cat /target)"
COPY . .
RUN touch src/main.rs src/lib.rs \
    && cargo build --release --locked --bin sluice --target "$(cat /target)" \
    && install -D "target/$(cat /target)/release/sluice" /out/sluice \
    && install -m 0644 /etc/ssl/certs/ca-certificates.crt /out/ca-certificates.crt

FROM scratch AS bare
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="sluice" \
      org.opencontainers.image.description="A reverse proxy for Kubernetes that can be edited in the middle of the day" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/usr/bin \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
# A number: the kubelet cannot tell whether a name is root.
USER 65532:65532
EXPOSE 8080 9901
ENTRYPOINT ["/usr/bin/sluice"]
CMD ["run"]

FROM bare AS prebuilt
COPY --chmod=0755 dist/sluice /usr/bin/sluice
COPY --chmod=0644 dist/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt

FROM bare AS runtime
COPY --from=build --chmod=0755 /out/sluice /usr/bin/sluice
COPY --from=build --chmod=0644 /out/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
