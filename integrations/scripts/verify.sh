# Verifies files against their bundles: who signed them, according to the pinned trusted root. Makes no network call.
#
#     sh verify.sh [check]     check: only whether it could, before anything is installed
#
# In:  CHANCERY_INPUT_FILES, _TRUSTED_ROOT, _BUNDLE, _IDENTITY or _IDENTITY_REGEXP, _ISSUER or _ISSUER_REGEXP; CHANCERY_HOME of install.sh
# Out: a summary (GitHub). All files are looked at; the exit code is that of the first one that does not verify.
set -eu
only_check=${1:-}
. "$(dirname -- "$0")/job.sh"

# demand NAME EXACT PATTERN: an identity is a name and the issuer that vouched for it; without both, anyone may have signed.
demand() {
  if [ -n "$2" ] && [ -n "$3" ]; then refuse "$1 and $1-regexp are both given: one of them says what to accept"; fi
  if [ -z "$2" ] && [ -z "$3" ]; then
    refuse "$1 is missing: without identity and issuer you would learn that somebody signed, and anyone can.
cure: give identity (or identity-regexp) and issuer (or issuer-regexp); the job that signed shows both"
  fi
}
identity=${CHANCERY_INPUT_IDENTITY:-}
identity_regexp=${CHANCERY_INPUT_IDENTITY_REGEXP:-}
issuer=${CHANCERY_INPUT_ISSUER:-}
issuer_regexp=${CHANCERY_INPUT_ISSUER_REGEXP:-}
demand identity "$identity" "$identity_regexp"
demand issuer "$issuer" "$issuer_regexp"
[ "$only_check" != check ] || exit 0

verify() {
  if [ -n "$identity" ]; then set -- "--certificate-identity=$identity" "$@"; else set -- "--certificate-identity-regexp=$identity_regexp" "$@"; fi
  if [ -n "$issuer" ]; then set -- "--certificate-oidc-issuer=$issuer" "$@"; else set -- "--certificate-oidc-issuer-regexp=$issuer_regexp" "$@"; fi
  aloud "$client" verify "--trusted-root=$trusted_root" "$@"
}

summarize "### Verification of $# file$([ $# -eq 1 ] || echo s)

| file | bundle | |
| --- | --- | --- |"
failed=0
wrong=0
for file in "$@"; do
  bundle=$(bundle_of "$file")
  status=0
  verify "--bundle=$bundle" -- "$file" || status=$?
  if [ "$status" -eq 0 ]; then verdict='✓ verified'; else
    verdict="✗ **not verified** (exit code $status)"
    wrong=$((wrong + 1))
    [ "$failed" -ne 0 ] || failed=$status
  fi
  summarize "| $(as_text "$file") | $(as_text "$bundle") | $verdict |"
done
summarize "
Demanded: the identity $(as_text "$identity$identity_regexp") and the issuer $(as_text "$issuer$issuer_regexp")."
[ "$failed" -eq 0 ] || {
  ! on_github || echo "::error title=chancery::$wrong of $# files do not verify; the log of this step says why"
  exit "$failed"
}
