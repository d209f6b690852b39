"""What a run folder holds, validated once: nothing behind `read_run` asks again what came."""
