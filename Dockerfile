# syntax=docker/dockerfile:1

# The gateway alone: an image without a shell, run by a user without rights.
#
#   docker build --tag stytch-gateway .
#   docker run --publish 8080:8080 \
#       --volume "$PWD/config.toml:/etc/stytch-gateway/config.toml:ro" \
#       --volume "$PWD/secret:/run/secrets/stytch:ro" \
#       stytch-gateway

FROM rust:1.95-slim-bookworm AS builder
WORKDIR /build

# The dependencies come first, under stand-ins for our own code, so that a change of the code alone
# does not build them again. The emulator and the maker of generated code are
# not built, but the workspace names them.
COPY Cargo.toml Cargo.lock ./
COPY proto/Cargo.toml proto/Cargo.toml
COPY stytch-emulator/Cargo.toml stytch-emulator/Cargo.toml
RUN mkdir -p src benches examples proto/src stytch-emulator/src \
    && touch src/lib.rs stytch-emulator/src/lib.rs \
    && echo 'fn main() {}' | tee src/main.rs benches/decide.rs examples/demo.rs proto/src/main.rs \
        stytch-emulator/src/main.rs >/dev/null \
    && cargo build --release --locked --package stytch-gateway

# cargo goes by the times of files, and these may be older than the stand-ins.
COPY src src
RUN find src -name '*.rs' -exec touch {} + \
    && cargo build --release --locked --package stytch-gateway

FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="stytch-gateway" \
      org.opencontainers.image.description="Checks every request's Stytch session in front of services that know nothing of Stytch" \
      org.opencontainers.image.licenses="MIT"
COPY --from=builder /build/target/release/stytch-gateway /stytch-gateway
# As a number, so that Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 8080 9090
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
    CMD ["/stytch-gateway", "healthcheck", "-c", "/etc/stytch-gateway/config.toml"]
ENTRYPOINT ["/stytch-gateway"]
CMD ["run", "-c", "/etc/stytch-gateway/config.toml"]
