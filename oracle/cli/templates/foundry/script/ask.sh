# Deploys the critic, asks it, waits until it was called back, and prints its address and the mood: 1 negative, 2 positive.
# `didyma dev -- sh script/ask.sh` runs it on a network of its own. On another one, set DIDYMA_ORACLE, DIDYMA_SERVICE,
# ETH_RPC_URL and PRIVATE_KEY. The key below is public: it is the third of every development chain.
set -eu
key=${PRIVATE_KEY:-0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a}
said=$(forge script script/Ask.s.sol --broadcast --rpc-url "$ETH_RPC_URL" --private-key "$key") || { echo "$said" >&2; exit 1; }
critic=$(echo "$said" | grep -o 'contract Critic 0x[0-9a-fA-F]\{40\}' | cut -d' ' -f3)
asked=$(cast call "$critic" 'last()(uint256)' --rpc-url "$ETH_RPC_URL" | cut -d' ' -f1)
for _ in $(seq 1 "${TRIES:-180}"); do
    mood=$(cast call "$critic" 'moods(uint256)(uint8)' "$asked" --rpc-url "$ETH_RPC_URL")
    if [ "$mood" != 0 ]; then
        echo "$critic $mood"
        exit 0
    fi
    sleep 1
done
echo "no answer: didyma request show $asked" >&2
exit 1
