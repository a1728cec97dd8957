#!/usr/bin/env bash
# Install the tool: GATE_PACKAGE as pip takes it, or the checkout that this file lies in.
set -euo pipefail

package=${GATE_PACKAGE:-}
if [[ -z $package ]]; then
  package=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../../.." && pwd)
fi
printf 'Installing %s\n' "$package"
python -m pip install --disable-pip-version-check --quiet -- "$package"
