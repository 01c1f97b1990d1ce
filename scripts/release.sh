#!/usr/bin/env bash
# Makes what a release consists of: scripts/release.sh [-o DIR] [OS/ARCH...]
# Static binaries in archives, a bill of materials (SPDX 2.3, JSON) for each, the licences of what is in them, and checksums. The
# same commit, built by the same Go, gives the same bytes: nothing depends on the time, the user, the folder or the order of files.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

out=dist
if [[ ${1:-} == -o ]]; then
  out=$2
  shift 2
fi
platforms=("$@")
[[ ${#platforms[@]} -gt 0 ]] || platforms=(linux/amd64 linux/arm64 darwin/amd64 darwin/arm64)

version=${VERSION:-$(git describe --tags --always --dirty 2>/dev/null || echo unknown)}
commit=$(git rev-parse HEAD)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export CGO_ENABLED=0 SOURCE_DATE_EPOCH TZ=UTC LC_ALL=C

rm -rf "$out"
mkdir -p "$out"
for platform in "${platforms[@]}"; do
  os=${platform%/*} arch=${platform#*/}
  name=penstock-$version-$os-$arch
  stage=$out/$name
  mkdir -p "$stage/licenses"
  GOOS=$os GOARCH=$arch go build -trimpath -buildvcs=false \
    -ldflags "-s -w -buildid= -X main.version=$version -X main.commit=$commit" -o "$stage/penstock" ./cmd/penstock
  cp LICENSE README.md "$stage/"
  cp -r deploy "$stage/deploy"
  find "$stage/deploy" -name '*.go' -delete
  go run ./scripts/sbom -version "$version" -commit "$commit" -epoch "$SOURCE_DATE_EPOCH" -licenses "$stage/licenses" "$stage/penstock" >"$out/$name.spdx.json"
  cp "$out/$name.spdx.json" "$stage/sbom.spdx.json"
  find "$stage" -type d -exec chmod 755 {} + -o -type f -exec chmod 644 {} +
  chmod 755 "$stage/penstock"
  tar --format=ustar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -C "$out" -cf - "$name" | gzip -9n >"$out/$name.tar.gz"
  rm -rf "$stage"
  echo "$out/$name.tar.gz"
done
(cd "$out" && sha256sum -- *.tar.gz *.spdx.json >SHA256SUMS)
