# Jobs compute with one thread, Snakemake's default, unless a rule sets another number: parallel jobs get more done than one
# job with all cores, and results do not depend on their number. `--set-threads train=4` gives trainings more threads.
SEMANTICS = config["semantics"]["dataset"]


rule train:
    """Train one method on one dataset with one seed."""
    input:
        images=f"{RESULTS}/{{dataset}}/images.csv",
        masks=f"{RESULTS}/{{dataset}}/training_masks.csv",
        encoder=lambda w: project.encoder(w.method, w.seed),
        over=lambda w: project.checkpoint(
            project.method(w.method)["over"], w.dataset, w.seed
        ),
        named=lambda w: named(project.inputs(project.method(w.method))),
    output:
        checkpoint=f"{RESULTS}/{{dataset}}/{{method}}/seed{{seed}}/checkpoint.safetensors",
        log=f"{RESULTS}/{{dataset}}/{{method}}/seed{{seed}}/train.csv",
    log:
        f"{RESULTS}/logs/{{dataset}}/{{method}}/seed{{seed}}/train.log",
    conda:
        "../envs/sair.yaml"
    threads: lambda w: project.training_threads(w.method)
    resources:  # Snakemake does not compare them, and no weight depends on them
        gpu_mib=lambda w: GPU.train(project.method(w.method)),
        workers=lambda w: project.upkeep("method", w.method, "workers"),
        save_every=lambda w: project.upkeep("method", w.method, "save_every"),
        validate_every=lambda w: project.upkeep("method", w.method, "validate_every"),
    params:
        spec=lambda w: project.recipe(project.method(w.method)),
        content=lambda w: project.content(project.method(w.method)),
        seed=lambda w: int(w.seed),
        device=config["device"],
        code=lambda w: project.code_fingerprint("train", w.method),
    script:
        "../scripts/train.py"


use rule train as train_encoder with:
    input:
        images=f"{RESULTS}/{SEMANTICS}/images.csv",
        masks=f"{RESULTS}/{SEMANTICS}/training_masks.csv",
        named=lambda w: named(project.inputs(project.encoders[w.encoder])),
    output:
        checkpoint=f"{RESULTS}/{SEMANTICS}/{{encoder}}/seed{{seed}}/checkpoint.safetensors",
        log=f"{RESULTS}/{SEMANTICS}/{{encoder}}/seed{{seed}}/train.csv",
    log:
        f"{RESULTS}/logs/{SEMANTICS}/{{encoder}}/seed{{seed}}/train.log",
    priority: 1  # most methods wait for it
    threads: 1
    resources:
        gpu_mib=lambda w: GPU.train(project.encoders[w.encoder]),
        workers=lambda w: project.upkeep("encoder", w.encoder, "workers"),
        save_every=lambda w: project.upkeep("encoder", w.encoder, "save_every"),
        validate_every=lambda w: project.upkeep("encoder", w.encoder, "validate_every"),
    params:
        spec=lambda w: project.recipe(project.encoders[w.encoder]),
        content=lambda w: project.content(project.encoders[w.encoder]),
        code=lambda w: project.code_fingerprint("train", encoder=w.encoder),


rule segment:
    """Segment masked test images from the embeddings that a method's SIR completes."""
    input:
        # The method's own encoder, because text embeddings of another one do not match.
        clip=lambda w: project.encoder(w.method, w.seed)
        or f"{project.encoder_folder('clip', w.seed)}/checkpoint.safetensors",
        images=f"{RESULTS}/{{dataset}}/images.csv",
        manifest=f"{RESULTS}/{{dataset}}/manifest.csv",
        method=lambda w: project.checkpoint(w.method, w.dataset, w.seed),
    output:
        table=f"{RESULTS}/{{dataset}}/{{method}}/seed{{seed}}/segmentation.csv",
    log:
        f"{RESULTS}/logs/{{dataset}}/{{method}}/seed{{seed}}/segmentation.log",
    conda:
        "../envs/sair.yaml"
    resources:
        gpu_mib=lambda w: GPU.predict(project.method(w.method)),
    params:
        device=config["device"],
        code=lambda w: project.code_fingerprint("segment", w.method),
    script:
        "../scripts/segment.py"


use rule segment as segment_by_clip with:
    input:
        clip=f"{RESULTS}/{SEMANTICS}/clip/seed{{seed}}/checkpoint.safetensors",
        images=f"{RESULTS}/{SEMANTICS}/images.csv",
        manifest=f"{RESULTS}/{SEMANTICS}/manifest.csv",
    output:
        table=f"{RESULTS}/{SEMANTICS}/clip/seed{{seed}}/segmentation.csv",
    log:
        f"{RESULTS}/logs/{SEMANTICS}/clip/seed{{seed}}/segmentation.log",
    resources:
        gpu_mib=GPU.predict(project.encoders["clip"]),
    params:
        code=project.code_fingerprint("segment", encoder="clip"),


rule predict:
    """Run one method on every row of the manifest."""
    input:
        manifest=f"{RESULTS}/{{dataset}}/manifest.csv",
        weights=lambda w: project.checkpoint(w.method, w.dataset, w.seed),
        named=lambda w: named(project.inputs(project.predictor(w.method))),
    output:
        predictions=directory(
            f"{RESULTS}/{{dataset}}/{{method}}/seed{{seed}}/predictions"
        ),
    log:
        f"{RESULTS}/logs/{{dataset}}/{{method}}/seed{{seed}}/predict.log",
    conda:
        "../envs/sair.yaml"
    resources:
        gpu_mib=lambda w: GPU.predict(project.method(w.method)),
    params:
        spec=lambda w: project.recipe(project.sample(w.method, w.seed)),
        content=lambda w: project.content(project.predictor(w.method)),
        device=config["device"],
        code=lambda w: project.code_fingerprint("predict", w.method),
    script:
        "../scripts/predict.py"


rule score_predictions:
    """Score one method's images on disk, one row per image."""
    input:
        manifest=f"{RESULTS}/{{dataset}}/manifest.csv",
        predictions=rules.predict.output.predictions,
        captions=lambda w: project.captions(w.dataset),
    output:
        scores=f"{RESULTS}/{{dataset}}/{{method}}/seed{{seed}}/scores.csv",
    log:
        f"{RESULTS}/logs/{{dataset}}/{{method}}/seed{{seed}}/score.log",
    conda:
        "../envs/sair.yaml"
    params:
        metrics=project.optional_metrics,
        code=project.code_fingerprint("score_predictions"),
    script:
        "../scripts/score_predictions.py"


rule fid:
    """Measure FID and KID of one method in every bucket, from Inception features, which are stored."""
    input:
        manifest=f"{RESULTS}/{{dataset}}/manifest.csv",
        truth=f"{RESULTS}/{{dataset}}/truth_features.safetensors",
        predictions=rules.predict.output.predictions,
    output:
        features=f"{RESULTS}/{{dataset}}/{{method}}/seed{{seed}}/features.safetensors",
        distances=f"{RESULTS}/{{dataset}}/{{method}}/seed{{seed}}/fid.csv",
    log:
        f"{RESULTS}/logs/{{dataset}}/{{method}}/seed{{seed}}/fid.log",
    conda:
        "../envs/sair.yaml"
    resources:
        gpu_mib=GPU.features(),
    params:
        device=config["device"],
        code=project.code_fingerprint("fid"),
    script:
        "../scripts/fid.py"


rule network_features:
    """Compute the features of one method's images by another network than that of FID and KID."""
    input:
        manifest=f"{RESULTS}/{{dataset}}/manifest.csv",
        predictions=rules.predict.output.predictions,
    output:
        features=f"{RESULTS}/{{dataset}}/{{method}}/seed{{seed}}/features.{{network}}.safetensors",
    log:
        f"{RESULTS}/logs/{{dataset}}/{{method}}/seed{{seed}}/features.{{network}}.log",
    wildcard_constraints:
        network="[a-z0-9]+",
    conda:
        "../envs/sair.yaml"
    resources:
        gpu_mib=lambda w: GPU.features(w.network),
    params:
        device=config["device"],
        network=lambda w: w.network,
        code=project.code_fingerprint("network_features"),
    script:
        "../scripts/network_features.py"


rule network_distances:
    """Measure FID, KID, CMMD, P-IDS and U-IDS of one method in every bucket, from stored features of a network."""
    input:
        manifest=f"{RESULTS}/{{dataset}}/manifest.csv",
        truth=lambda w: project.features(w.network, w.dataset),
        features=lambda w: project.features(w.network, w.dataset, w.method, w.seed),
    output:
        distances=f"{RESULTS}/{{dataset}}/{{method}}/seed{{seed}}/distances.{{network}}.csv",
    log:
        f"{RESULTS}/logs/{{dataset}}/{{method}}/seed{{seed}}/distances.{{network}}.log",
    wildcard_constraints:
        network="[a-z0-9]+",
    conda:
        "../envs/sair.yaml"
    params:
        code=project.code_fingerprint("network_distances"),
    script:
        "../scripts/network_distances.py"


rule diversity:
    """Measure how far the samples of one method differ, by LPIPS between each two of them."""
    input:
        manifest=f"{RESULTS}/{{dataset}}/manifest.csv",
        predictions=lambda w: project.of_every_seed(w.dataset, w.method, "predictions"),
    output:
        distances=f"{RESULTS}/{{dataset}}/{{method}}/diversity.csv",
    log:
        f"{RESULTS}/logs/{{dataset}}/{{method}}/diversity.log",
    conda:
        "../envs/sair.yaml"
    params:
        code=project.code_fingerprint("diversity"),
    script:
        "../scripts/diversity.py"


rule score_conventions:
    """Score one method's images on disk as published evaluation codes do, one row per image."""
    input:
        manifest=f"{RESULTS}/{{dataset}}/manifest.csv",
        predictions=rules.predict.output.predictions,
    output:
        scores=f"{RESULTS}/{{dataset}}/{{method}}/seed{{seed}}/conventions.csv",
    log:
        f"{RESULTS}/logs/{{dataset}}/{{method}}/seed{{seed}}/conventions.log",
    conda:
        "../envs/sair.yaml"
    params:
        code=project.code_fingerprint("score_conventions"),
    script:
        "../scripts/score_conventions.py"
