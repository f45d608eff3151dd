#!/bin/sh
# A shell script that needs an account for one command: each host's report, one after another, by the account whose turn it is.
#
#   REDISPOOL_URL=redis://redis.example.net with_account.sh POOL HOST...
#
# Needs: pip install 'redispool[cli]'. The credentials are in the command's environment and nowhere else; they are not in argv,
# where every user of the machine could read them. Status 75: no account came free within the minute.
set -eu

pool=$1
shift
for host in "$@"; do
  # the account is leased before the command starts, renewed while it runs, and goes back when it has ended
  redispool run --pool "$pool" --timeout 60 -- sh -c '
    echo "$1: reported by $ACCOUNT_NAME, with a password of ${#ACCOUNT_PASSWORD} characters"
  ' report "$host"
done
