# The critic on the whole oracle: nodes, the shipped model and the challenge window. `npm run test:dev` starts them.
set -eu
said=$(REVIEW="The soup was cold and the waiter was rude." sh script/ask.sh)
case "$said" in
    *" 1") echo "ok: the critic heard that the review is negative" ;;
    *) echo "not ok: $said" >&2; exit 1 ;;
esac
