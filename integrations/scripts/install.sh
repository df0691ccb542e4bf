# Installs the client into a folder of its own, outside the checkout, and runs nothing of what it installs.
#
# In:  CHANCERY_INPUT_PACKAGE, CHANCERY_INPUT_VERSION, CHANCERY_INPUT_INTEGRITY   see integrations/README.md
#      CHANCERY_INPUT_PATH=true   puts `chancery` into the PATH of the steps that follow (GitHub)
# Out: CHANCERY_HOME in this shell, and the outputs `home` and `version` (GitHub)
# POSIX sh. It needs no file beside it: the GitLab component has it word for word.
set -eu

refuse() {
  if [ "${GITHUB_ACTIONS:-}" = true ]; then
    # Shown on the page of the run as well. A workflow command is one line, and % its escape.
    printf '::error title=chancery::Cannot install chancery: %s\n' "$(printf %s "$1" | sed 's/%/%25/g')"
  else
    printf 'Cannot install chancery: %s\n' "$1" >&2
  fi
  exit 2
}

package=${CHANCERY_INPUT_PACKAGE:-chancery}
version=${CHANCERY_INPUT_VERSION:-}
integrity=${CHANCERY_INPUT_INTEGRITY:-}

command -v node >/dev/null && command -v npm >/dev/null ||
  refuse 'node and npm are missing: set up Node 20.19 or later in an earlier step, or use an image that has it'
node -e 'const [major, minor] = process.versions.node.split("."); process.exit(major > 20 || (major == 20 && minor >= 19) ? 0 : 1)' ||
  refuse "Node is $(node --version), needed is 20.19 or later"

case $integrity in *[!0-9A-Za-z+/=-]*) refuse 'the integrity must be one hash, such as sha512-…' ;; esac

# An alias: whatever the package is called, it lies in node_modules/chancery.
tarball=
case $package in
  *[[:cntrl:]]*) refuse 'the package has a line break or control character in its name' ;;
  https://*) spec=chancery@$package ;;
  *.tgz | *.tar.gz)
    [ -f "$package" ] || refuse "there is no file $package"
    # As an absolute path it is no option, whatever it begins with.
    tarball=$(cd "$(dirname -- "$package")" && pwd)/$(basename -- "$package")
    spec=chancery@file:client.tgz
    ;;
  [!@a-z0-9]* | *[!@a-z0-9._/-]*) refuse "the package must be a name, an https URL or a .tgz file, it is $package" ;;
  *)
    # No range and no tag: what signs must be the same tomorrow.
    case $version in
      '') refuse 'the version is missing: give the exact one, or as package a .tgz file or an https URL' ;;
      *[!0-9A-Za-z.+-]*) refuse 'the version must be an exact one, such as 1.2.3' ;;
      [0-9]*.[0-9]*.[0-9]*) spec=chancery@npm:$package@$version ;;
      *) refuse "the version must be an exact one, such as 1.2.3, it is $version" ;;
    esac
    ;;
esac
[ -z "$version" ] || [ "${spec#chancery@npm:}" != "$spec" ] ||
  refuse 'give either a version or, as package, a .tgz file or an https URL'

if [ -n "${RUNNER_TEMP:-}" ]; then
  # Further steps of the job find what the first one installed.
  CHANCERY_HOME=$RUNNER_TEMP/chancery-$({ echo "$spec $integrity"; [ -z "$tarball" ] || cat "$tarball"; } | cksum | tr ' ' -)
else
  CHANCERY_HOME=$(mktemp -d)
fi
export CHANCERY_HOME

if [ ! -e "$CHANCERY_HOME/installed" ]; then
  mkdir -p "$CHANCERY_HOME"
  [ -z "$tarball" ] || cp "$tarball" "$CHANCERY_HOME/client.tgz"
  echo '{ "private": true }' >"$CHANCERY_HOME/package.json"
  # From within, so that an .npmrc of the checkout has no say. The client needs no native module, so no install script has to run.
  (
    cd "$CHANCERY_HOME"
    npm install --ignore-scripts --omit=dev --no-audit --no-fund --loglevel=error -- "$spec"
  ) >"$CHANCERY_HOME/npm.log" 2>&1 || {
    # Prefixed and spelled otherwise, so that nothing of it is a workflow command of GitHub.
    sed 's/##\[/##(/g; s/^/npm: /' "$CHANCERY_HOME/npm.log" >&2
    refuse "npm could not install $package${version:+ $version}"
  }
  if [ -n "$integrity" ]; then
    found=$(node -p 'JSON.parse(fs.readFileSync(process.argv[1])).packages["node_modules/chancery"].integrity' \
      "$CHANCERY_HOME/node_modules/.package-lock.json")
    [ "$found" = "$integrity" ] || refuse "the integrity of the package is $found, wanted is $integrity"
  fi
  [ -f "$CHANCERY_HOME/node_modules/chancery/bin/chancery" ] || refuse "$package has no chancery in it"
  mkdir -p "$CHANCERY_HOME/bin"
  printf '%s\n' '#!/bin/sh' 'exec node "${0%/*}/../node_modules/chancery/bin/chancery" "$@"' >"$CHANCERY_HOME/bin/chancery"
  chmod +x "$CHANCERY_HOME/bin/chancery"
  : >"$CHANCERY_HOME/installed"
fi

installed=$("$CHANCERY_HOME/bin/chancery" --version)
echo "chancery $installed is in $CHANCERY_HOME"
if [ -n "${GITHUB_OUTPUT:-}" ]; then
  printf 'home=%s\nversion=%s\n' "$CHANCERY_HOME" "$installed" >>"$GITHUB_OUTPUT"
  [ "${CHANCERY_INPUT_PATH:-}" != true ] || printf '%s\n' "$CHANCERY_HOME/bin" >>"$GITHUB_PATH"
fi
