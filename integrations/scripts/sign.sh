# Signs files with the identity of the job, and checks each bundle against the pinned trusted root before it counts.
#
#     sh sign.sh [check]     check: only whether it could, before anything is installed
#
# In:  CHANCERY_INPUT_FILES, _URL or _SIGNING_CONFIG, _TRUSTED_ROOT, _AUDIENCE, _BUNDLE; CHANCERY_HOME of install.sh
# Out: the bundles; outputs `bundles`, `identity`, `issuer` and a summary (GitHub)
set -eu
only_check=${1:-}
. "$(dirname -- "$0")/job.sh"

url=${CHANCERY_INPUT_URL:-}
config=${CHANCERY_INPUT_SIGNING_CONFIG:-}
audience=${CHANCERY_INPUT_AUDIENCE:-sigstore}
if [ -n "$url" ] && [ -n "$config" ]; then refuse 'url and signing-config are both given: one of them says which services to use'; fi
if [ -z "$url" ] && [ -z "$config" ]; then refuse 'url is missing: the address of the signing service (or signing-config, a file)'; fi
[ -z "$config" ] || [ -f "$config" ] || refuse "signing-config: there is no file $config"

if [ -z "${SIGSTORE_ID_TOKEN:-}" ]; then
  if on_github && { [ -z "${ACTIONS_ID_TOKEN_REQUEST_URL:-}" ] || [ -z "${ACTIONS_ID_TOKEN_REQUEST_TOKEN:-}" ]; }; then
    refuse 'the job may not request an identity token.
cure: add `permissions: id-token: write` to the job (pull requests from forks never get it)'
  elif [ "${GITLAB_CI:-}" = true ]; then
    refuse "the job has no identity token.
cure: add \`id_tokens: SIGSTORE_ID_TOKEN: aud: $audience\` to the job"
  fi
fi
[ "$only_check" != check ] || exit 0

files=$#
bundles=
for file in "$@"; do bundles=$bundles${bundles:+$newline}$(bundle_of "$file"); done
first=$1

# Prepended one by one: what follows the -- is file names.
set -- -- "$@"
[ -z "${CHANCERY_INPUT_BUNDLE:-}" ] || set -- "--bundle=$CHANCERY_INPUT_BUNDLE" "$@"
if [ -n "$url" ]; then set -- "--url=$url" "$@"; else set -- "--signing-config=$config" "$@"; fi
set -- sign "--trusted-root=$trusted_root" "--oidc-client-id=$audience" "$@"
status=0
aloud "$client" "$@" || status=$?
[ "$status" -eq 0 ] || {
  ! on_github || echo "::error title=chancery::Signing failed with exit code $status; the log of this step says why"
  exit "$status"
}

# What verifiers have to demand, from the command that they use. One run has one certificate.
report=$("$client" verify --json "--trusted-root=$trusted_root" "--bundle=$(bundle_of "$first")" -- "$first") ||
  refuse 'Cannot verify what was just signed: has another step changed the file or the bundle?'
signer() { printf %s "$report" | node -p '(JSON.parse(fs.readFileSync(0, "utf8")).signer ?? {})[process.argv[1]] ?? ""' "$1"; }
identity=$(signer san)
issuer=$(signer issuer)
set_output bundles "$bundles"
set_output identity "$identity"
set_output issuer "$issuer"

summarize "### Signed: $files file$([ "$files" -eq 1 ] || echo s)

| bundle | |
| --- | --- |"
IFS=$newline
set -f
for bundle in $bundles; do summarize "| $(as_text "$bundle") | ✓ verifies |"; done
summarize "
Verifiers demand the identity $(as_text "$identity") and the issuer $(as_text "$issuer")."
