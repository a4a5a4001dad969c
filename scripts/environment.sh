# Sourced by demo.sh and test.sh with one argument, the extras to install, such as "[test]".
# Makes the virtual environment .venv in the checkout and installs the package into it; when the
# same was installed before, from the same pyproject.toml, nothing is done and no network is needed.

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "nst-jax needs Python 3.11 or newer; $python is $("$python" --version). Set PYTHON=/path/to/python3.11" >&2
  exit 2
}
[ -x .venv/bin/pip ] || "$python" -m venv .venv
source .venv/bin/activate
stamp=.venv/installed-$(cat pyproject.toml <(echo "$1") | cksum | cut -d' ' -f1)
if [ ! -e "$stamp" ]; then
  echo "installing nst-jax$1 into .venv" >&2
  python -m pip install --editable ".$1" >&2
  touch "$stamp"
fi
