#!/bin/sh
# Installs the peers of the protocols' cases that come from PyPI and npm into target/peers, in the versions listed beside this file.
# The second time it does nothing.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../../.."
peers=target/peers

# The lists, and the Python that the packages are for.
wanted=$(cat "$here/python.txt" "$here/package-lock.json" && python3 -c 'import sys; print(sys.version)') || {
    echo "lab: python3 is needed" >&2
    exit 1
}
[ "$wanted" != "$(cat "$peers/installed" 2>/dev/null)" ] || exit 0

rm -rf "$peers"
mkdir -p "$peers/node"
# Only binary packages: nothing is compiled.
python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --only-binary :all: --no-deps \
    --target "$peers/python" --requirement "$here/python.txt" || {
    echo "lab: cannot install the Python packages in $here/python.txt (python3-pip is needed)" >&2
    exit 1
}
cp "$here/package.json" "$here/package-lock.json" "$peers/node"
npm ci --prefix "$peers/node" --silent --ignore-scripts --no-audit --no-fund || {
    echo "lab: cannot install the npm packages in $here/package.json (npm is needed)" >&2
    exit 1
}
echo "$wanted" >"$peers/installed"
