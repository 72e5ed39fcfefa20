# Be one command of the study, with numbers whose result is large if there is a second argument: tell the witness, then fail the first time, or leave processes behind, or just work.
echo "began $PROVRUN_ATTEMPT" >>"$WITNESS"
task=${PROVRUN_TASK%/*}-${PROVRUN_TASK#*/}
exec 9>>"$WITNESS.locks/$task"
flock -n 9 || echo "overlaps $PROVRUN_ATTEMPT" >>"$WITNESS"
echo "noise of $PROVRUN_ATTEMPT" >&2
case $1 in
    *3) if mkdir "$WITNESS.failed/$task" 2>/dev/null; then exit 1; fi ;;
    *5) sleep 60 & setsid sleep 60 9>&- & ;;
    *7) [ -z "$2" ] || pad=$(printf %070000d 0) ;;
    *20) sleep 0.7 ;;
esac
sleep "0.0$(($1 % 6))"
echo "{\"y\": $(($1 * $1)), \"pad\": \"$pad\"}"
