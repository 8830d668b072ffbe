CLIP = f"{RESULTS}/{config['semantics']['dataset']}/clip"


rule clip:
    """Train the small CLIP, or take a pretrained one."""
    input:
        pictures=f"{RESULTS}/{config['semantics']['dataset']}/pictures.csv",
        masks=f"{RESULTS}/{config['semantics']['dataset']}/training_masks.csv",
    output:
        checkpoint=f"{CLIP}/checkpoint.safetensors",
        log=f"{CLIP}/train.csv",
    log:
        f"{RESULTS}/logs/clip.log",
    conda:
        "../envs/sair.yaml"
    threads: 2
    params:
        spec=project.clip,
        seed=0,
        device=config["device"],
        code=project.code("data", "files", "methods", "training", "models/clip"),
    script:
        "../scripts/train.py"


rule segmentation:
    """Segment the complete test pictures with the dense CLIP: is the map text-aligned?"""
    input:
        checkpoint=rules.clip.output.checkpoint,
        pictures=rules.clip.input.pictures,
    output:
        table=f"{CLIP}/segmentation.csv",
    log:
        f"{RESULTS}/logs/segmentation.log",
    conda:
        "../envs/sair.yaml"
    threads: 2
    params:
        device=config["device"],
        code=project.code(
            "data",
            "files",
            "methods",
            "models/clip",
            "segmentation",
            "evaluation/segmentation",
        ),
    script:
        "../scripts/segmentation.py"


rule train:
    """Train one method on one dataset with one seed."""
    input:
        pictures=f"{RESULTS}/{{dataset}}/pictures.csv",
        masks=f"{RESULTS}/{{dataset}}/training_masks.csv",
        semantics=lambda w: (
            rules.clip.output.checkpoint
            if project.method(w.method)["semantics"]
            else []
        ),
    output:
        checkpoint=f"{RESULTS}/{{dataset}}/{{method}}/seed{{seed}}/checkpoint.safetensors",
        log=f"{RESULTS}/{{dataset}}/{{method}}/seed{{seed}}/train.csv",
    log:
        f"{RESULTS}/logs/{{dataset}}/{{method}}/seed{{seed}}/train.log",
    conda:
        "../envs/sair.yaml"
    threads: 2
    params:
        spec=lambda w: project.recipe(w.method),
        seed=lambda w: int(w.seed),
        device=config["device"],
        code=lambda w: project.code(
            "data", "files", "methods", "training", method=w.method
        ),
    script:
        "../scripts/train.py"


rule predict:
    """Run one method on every row of the manifest."""
    input:
        manifest=f"{RESULTS}/{{dataset}}/manifest.csv",
        weights=lambda w: (
            rules.train.output.checkpoint if project.learns(w.method) else []
        ),
    output:
        predictions=directory(
            f"{RESULTS}/{{dataset}}/{{method}}/seed{{seed}}/predictions"
        ),
    log:
        f"{RESULTS}/logs/{{dataset}}/{{method}}/seed{{seed}}/predict.log",
    conda:
        "../envs/sair.yaml"
    threads: 2
    params:
        spec=lambda w: project.recipe(w.method),
        device=config["device"],
        code=lambda w: project.code("data", "files", "prediction", method=w.method),
    script:
        "../scripts/predict.py"


rule score:
    """Score one method's pictures on disk, one row a picture."""
    input:
        manifest=f"{RESULTS}/{{dataset}}/manifest.csv",
        predictions=rules.predict.output.predictions,
    output:
        scores=f"{RESULTS}/{{dataset}}/{{method}}/seed{{seed}}/scores.csv",
    log:
        f"{RESULTS}/logs/{{dataset}}/{{method}}/seed{{seed}}/score.log",
    conda:
        "../envs/sair.yaml"
    threads: 2
    params:
        code=project.code("evaluation", "data/manifest", "files", "weights"),
    script:
        "../scripts/score.py"
