# With `shards` above 1, prediction and scoring of a method are spread over that many jobs, and so over GPUs and nodes.
OF_METHOD = f"{RESULTS}/{{dataset}}/{{method}}/seed{{seed}}"
FOR_GATHERING = f"{RESULTS}/{{{{dataset}}}}/{{{{method}}}}/seed{{{{seed}}}}"
LOG_OF_METHOD = f"{RESULTS}/logs/{{dataset}}/{{method}}/seed{{seed}}"


scattergather:
    shard=config["shards"],


ruleorder: gather_predictions > predict
ruleorder: gather_scores > score_predictions


use rule predict as predict_shard with:
    output:
        predictions=temp(directory(f"{OF_METHOD}/predictions.{{scatteritem}}")),
    log:
        f"{LOG_OF_METHOD}/predict.{{scatteritem}}.log",


rule gather_predictions:
    """Put the predictions of all shards into one folder."""
    input:
        shards=gather.shard(f"{FOR_GATHERING}/predictions.{{scatteritem}}"),
    output:
        predictions=directory(f"{OF_METHOD}/predictions"),
    log:
        f"{LOG_OF_METHOD}/gather_predictions.log",
    conda:
        "../envs/sair.yaml"
    params:
        code=project.code_fingerprint("gather_predictions"),
    script:
        "../scripts/gather_predictions.py"


use rule score_predictions as score_shard with:
    output:
        scores=temp(f"{OF_METHOD}/scores.{{scatteritem}}.csv"),
    log:
        f"{LOG_OF_METHOD}/score.{{scatteritem}}.log",


rule gather_scores:
    """Put the scores of all shards into one table."""
    input:
        manifest=f"{RESULTS}/{{dataset}}/manifest.csv",
        shards=gather.shard(f"{FOR_GATHERING}/scores.{{scatteritem}}.csv"),
    output:
        scores=f"{OF_METHOD}/scores.csv",
    log:
        f"{LOG_OF_METHOD}/gather_scores.log",
    conda:
        "../envs/sair.yaml"
    params:
        code=project.code_fingerprint("gather_scores"),
    script:
        "../scripts/gather_scores.py"
