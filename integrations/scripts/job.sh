# What signing and verifying in a job have in common. To be sourced: functions, and below them the list of files as "$@".
# A value of the outside never becomes a part of a command line that a shell reads: it is always one quoted word.

newline='
'
client=${CHANCERY_HOME:+$CHANCERY_HOME/bin/chancery}

on_github() { [ "${GITHUB_ACTIONS:-}" = true ]; }

# refuse MESSAGE: ends the job. On GitHub as an annotation, which the page of the run shows, and in which nothing else is a workflow command:
# a command is one line, and % its escape. https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions
refuse() {
  if on_github; then
    printf '::error title=chancery::%s\n' \
      "$(printf '%s\n' "$1" | tr '\r' ' ' | sed 's/%/%25/g' | awk 'NR > 1 { printf "%%0A" } { printf "%s", $0 }')"
  else
    printf '%s\n' "$1" >&2
  fi
  exit 2
}

# A word that nobody can have written in advance.
random_word() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }

# aloud COMMAND…: runs it so that nothing it prints is a workflow command: file names are whatever somebody called a file.
aloud() {
  on_github || { "$@"; return; }
  stop=$(random_word)
  echo "::stop-commands::$stop"
  status=0
  # One stream, so that no line of it comes before or after the two commands.
  "$@" 2>&1 || status=$?
  echo "::$stop::"
  return "$status"
}

# set_output NAME VALUE
set_output() {
  [ -n "${GITHUB_OUTPUT:-}" ] || return 0
  delimiter=$(random_word)
  printf '%s<<%s\n%s\n%s\n' "$1" "$delimiter" "$2" "$delimiter" >>"$GITHUB_OUTPUT"
}

# summarize LINE: Markdown for the page of the run.
summarize() { [ -z "${GITHUB_STEP_SUMMARY:-}" ] || printf '%s\n' "$1" >>"$GITHUB_STEP_SUMMARY"; }

# as_text VALUE: Markdown that shows the value and nothing else: what could be markup, a mention or a link is an entity.
as_text() {
  printf '<code>%s</code>' "$(printf %s "$1" | sed 's/&/\&amp;/g; s/#/\&#35;/g; s/</\&lt;/g; s/>/\&gt;/g; s/|/\&#124;/g; s/`/\&#96;/g; s/\*/\&#42;/g
    s/_/\&#95;/g; s/\[/\&#91;/g; s/\]/\&#93;/g; s/\\/\&#92;/g; s/~/\&#126;/g; s/\$/\&#36;/g; s/@/\&#64;/g; s/:/\&#58;/g; s/!/\&#33;/g')"
}

case ${CHANCERY_INPUT_BUNDLE:-} in *[[:cntrl:]]*) refuse 'bundle: its name has a line break or another control character' ;; esac

# bundle_of FILE
bundle_of() { printf %s "${CHANCERY_INPUT_BUNDLE:-$1.sigstore.json}"; }

trusted_root=${CHANCERY_INPUT_TRUSTED_ROOT:-}
[ -n "$trusted_root" ] || refuse 'trusted-root is missing: the file that says whose signatures to believe.
cure: have the operator of the service give you its trusted_root.json (made by `chancery trust export`), compare it over a second way, and commit it'
[ -f "$trusted_root" ] || refuse "trusted-root: there is no file $trusted_root
cure: check out the repository before this step, and commit the file"

# Lines to files. A line that is the name of a file is that file, whatever characters it has; another one is a pattern.
set --
set -f
IFS=$newline
for line in ${CHANCERY_INPUT_FILES:-}; do
  # Blanks around it come from how YAML is indented.
  line=${line#"${line%%[![:space:]]*}"}
  line=${line%"${line##*[![:space:]]}"}
  [ -n "$line" ] || continue
  case $line in *'**'*) refuse "files: ** is not understood in $line
cure: name the folders, one pattern a line" ;; esac
  [ ! -d "$line" ] || refuse "files: $line is a folder
cure: write $line/* for the files in it"
  before=$#
  set +f
  IFS=
  if [ -f "$line" ]; then
    set -- "$@" "$line"
  else
    for found in $line; do
      # Bundles lie beside the files: a second run must not sign the first one's.
      case $found in *.sigstore.json) continue ;; esac
      [ ! -f "$found" ] || set -- "$@" "$found"
    done
  fi
  set -f
  IFS=$newline
  [ $# -gt $before ] || refuse "files: nothing is there that is called $line"
done
set +f
unset IFS
[ $# -gt 0 ] || refuse 'files is empty: name the files, one name or pattern a line'

# Each once, and none that could be taken for an option or a digest.
count=$#
while [ "$count" -gt 0 ]; do
  file=$1
  shift
  count=$((count - 1))
  case $file in
    *[[:cntrl:]]*) refuse 'files: one of them has a line break or another control character in its name, which lists of names cannot hold' ;;
    -* | sha256:*) file=./$file ;;
  esac
  again=false
  for other in "$@"; do [ "$other" != "$file" ] || again=true; done
  $again || set -- "$@" "$file"
done
[ -z "${CHANCERY_INPUT_BUNDLE:-}" ] || [ $# -eq 1 ] || refuse "bundle: it can be named for one file only, here are $#
cure: leave bundle out: each lies beside its file as <file>.sigstore.json"
