# The server that the sample `restart-apache` restarts: it reads numbers from the FIFO `request`
# and answers each, into the FIFO reply.NUMBER, with its generation.
#
# Started in its directory, with the generation as its argument and, on standard input, a FIFO that
# says "go" once the server is on record; end-of-file instead means that the starter has died.

generation=$1
trap 'echo "$(date -u +%FT%TZ) generation $generation stops"; exit 0' TERM

read -r word && [ "$word" = go ] || exit 1
echo "$(date -u +%FT%TZ) generation $generation (process $$) starts"

# For both reading and writing: it never sees end-of-file.
exec 0<> request
while :; do
    read -r number || continue
    # What comes in becomes a file name: digits alone can.
    case $number in
        '' | *[!0-9]*) echo "refused a request: not a number" ;;
        # Both ways again, so that an asker who went away blocks nobody.
        *) [ ! -p "reply.$number" ] || echo "generation $generation" 1<> "reply.$number" ;;
    esac
done
